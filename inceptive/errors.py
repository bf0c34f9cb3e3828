"""The one exception that a caller of inceptive must know."""


class InceptiveError(Exception):
    """A request that cannot be met: one line that names the thing, the reason and what to do."""
