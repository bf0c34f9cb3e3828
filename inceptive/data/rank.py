"""What part of each batch a process takes, where several train together."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rank:
    """Process `rank` of `world`: of every batch, it takes its part, one after the other."""

    rank: int = 0
    world: int = 1

    def __str__(self) -> str:
        return f"process {self.rank} of {self.world}"

    def of(self, count: int) -> slice:
        """This process's part of `count` things in a row; parts differ by one at most."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)
