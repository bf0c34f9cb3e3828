"""Frozen layers are computed once: their maps, for each picture and view.

A picture has a few fixed views: its centre square as in evaluation, and others that are randomly cropped
and augmented. The frozen layers' output for a view never changes, so it is kept in memory and in the
cache, and the other layers train on it. Recomputed for each batch, it is the same, to rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from inceptive.data.cache import Cache
from inceptive.data.loading import Batches, RandomCrop, Rank, permutation
from inceptive.data.pictures import CachedImages, ModelInputs
from inceptive.data.prefetch import prefetch
from inceptive.data.source import Images, PathImages, Samples, images_of
from inceptive.images import Preprocessing
from inceptive.io.cores import cores
from inceptive.io.progress import Progress
from inceptive.nn import Model
from inceptive.nn.fused import fused
from inceptive.training.augment import Augment
from inceptive.training.calibration import DTYPES, described, laid_out, wants_bf16
from inceptive.training.recipe import Recipe, SpeedTable

BATCH = 32
"""Pictures that go through the frozen layers at once."""
CHUNK = 8
"""Batches whose maps are written to the cache together."""
KEPT = torch.float16
"""What maps to learn from are kept in: it holds bfloat16's digits."""
MEMORY = 6 * 2**30
"""Bytes of maps that are kept in memory; others are read from the cache again, or computed."""
Picture = Callable[[int], np.ndarray]
"""Picture k of a set as a net sees it: uint8 (C, S, S)."""


class ViewBatches(Batches):
    """Batches in which epoch e shows view e modulo `finetune.views` of each picture.

    View 0 is the centre square; what is drawn for others depends on (seed, view, picture).
    """

    def __init__(
        self,
        samples: Samples,
        crop: RandomCrop,
        recipe: Recipe,
        cache: Cache | None,
        share: Rank = Rank(),
    ):
        pictures = CachedImages(samples, crop.spec, cache)
        size, workers = recipe.batch_size, recipe.data.workers
        super().__init__(pictures, crop, size, recipe.seed, workers, share)
        self.centres = CachedImages(samples, ModelInputs(crop.preprocessing), cache)
        self.augment, self.views = (
            Augment(recipe.augment, crop.preprocessing.size),
            recipe.finetune.views,
        )

    def picture(self, number: int, index: int) -> np.ndarray:
        view = number % self.views
        if not view:
            return self.centres[index]
        key = self.seed, view, index
        square = torch.from_numpy(self.crop(self.pictures[index], key).copy())
        draws = torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        return self.augment(square[None], draws)[0].round().to(torch.uint8).numpy()

    def name(self, view: int) -> str:
        """Everything that determines the pixels of a view, besides the pictures."""
        if not view:
            return ModelInputs(self.crop.preprocessing).name
        return f"view {view} of seed {self.seed} {self.crop} {self.crop.spec.name} {self.augment}"


class FrozenMaps:
    """The maps of `model` for pictures up to its part `after`: (N, C, H, W).

    With `read`, modules up to `after`, what a probe reads of them: see `pooled`, (N, F, 1, 1).
    """

    def __init__(
        self,
        model: Model,
        after: str,
        preprocessing: Preprocessing,
        speed: SpeedTable,
        cache: Cache | None,
        progress: Progress,
        read: Sequence[str] = (),
    ):
        self.after, self.preprocessing, self.read = after, preprocessing, read
        self.cache, self.progress = cache, progress
        self.device = next(model.parameters()).device
        precision = "bf16" if wants_bf16(speed.precision, self.device) else "f32"
        self.speed = speed.model_copy(update={"precision": precision})
        self.nets = {kind: fused(model, DTYPES[kind]) for kind in (precision, "f32")}
        parts = [name for name, _ in model.net.body]
        self.parts = parts[: parts.index(after) + 1]
        weights, frozen = sha256(), tuple(f"{part}." for part in self.parts)
        for name, tensor in model.state_dict().items():
            if name.startswith(frozen):
                weights.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        self._memory: dict[str, tuple[Images, Tensor]] = {}
        digest = f"{weights.hexdigest()} {after} {read} {preprocessing}"
        self._name = f"fused maps {digest} torch {torch.__version__}"

    def of(
        self, samples: Samples, picture: Picture, name: str, what: str, exact: bool = False
    ) -> Tensor:
        """The maps of `picture(k)` for each of `samples`, whose pixels depend on `name` and content.

        On the CPU, as KEPT; `exact`: computed and kept in float32.
        """
        speed = self.speed.model_copy(update={"precision": "f32"}) if exact else self.speed
        dtype = torch.float32 if exact else KEPT
        spec = f"{self._name} {name} {dtype} {described(speed)}"
        if not (kept := self._memory.get(spec)) or kept[0] is not samples.images:
            maps = self._of(samples, picture, spec, what, dtype, speed)
            self._memory[spec] = samples.images, maps
            while (
                len(self._memory) > 1 and sum(m.nbytes for _, m in self._memory.values()) > MEMORY
            ):
                self._memory.pop(next(iter(self._memory)))
        return self._memory[spec][1]

    def _of(
        self,
        samples: Samples,
        picture: Picture,
        spec: str,
        what: str,
        dtype: torch.dtype,
        speed: SpeedTable,
    ) -> Tensor:
        images, digests = samples.images, None
        if self.cache and isinstance(images, PathImages) and images.files["digest"].any(1).all():
            digests = images.files["digest"]  # the content of each file is known
        maps: Tensor | None = None
        chunk: list[int] = []
        done = 0

        def put(indices: list[int], values: Tensor) -> Tensor:
            shape = (len(samples), *values.shape[1:])
            out = torch.empty(shape, dtype=dtype) if maps is None else maps
            out[indices] = values
            return out

        missing = set(range(len(samples)))
        for index, values in self._cached(spec, digests, dtype):
            maps = put([index], values[None])
            missing.remove(index)
        left = sorted(missing)
        steps = [left[at : at + BATCH] for at in range(0, len(left), BATCH)]
        squares = prefetch(lambda some: np.stack([picture(k) for k in some]), steps, cores())
        for some, batch in zip(steps, squares, strict=True):
            maps = put(some, self.compute(batch, speed).to(dtype))
            chunk += some
            done += len(some)
            self.progress.advance(what, done, len(missing))
            if digests is not None and (len(chunk) >= CHUNK * BATCH or done == len(missing)):
                pictures = [maps[k].view(torch.uint8).numpy() for k in chunk]
                assert self.cache and isinstance(images, PathImages)
                self.cache.add(spec, images.folder, digests[chunk], pictures)
                chunk = []
        assert maps is not None
        return maps

    def _cached(
        self, spec: str, digests: np.ndarray | None, dtype: torch.dtype
    ) -> Iterator[tuple[int, Tensor]]:
        """The maps that lie in the cache: index and (C, H, W). Their width is counted in bytes there."""
        if self.cache is None or digests is None:
            return
        for index, row in enumerate(self.cache.find(spec, digests)):
            if (values := self.cache.at(row)) is not None:
                yield index, torch.from_numpy(values.copy()).view(dtype)

    def centres(self, samples: Samples, split: str, exact: bool = False) -> Tensor:
        """The maps of the centre squares of `samples`, those of a split, as in evaluation."""
        spec = ModelInputs(self.preprocessing)
        with CachedImages(samples, spec, self.cache) as squares:
            what = f"computing frozen layers of {images_of(split)}"
            return self.of(samples, squares.__getitem__, spec.name, what, exact)

    @torch.inference_mode()
    def compute(self, batch: np.ndarray, speed: SpeedTable) -> Tensor:
        """The maps of pictures (N, C, S, S) of uint8, on the CPU."""
        images = self.preprocessing.normalise(torch.from_numpy(batch).to(self.device))
        net = self.nets[speed.precision]
        for part in self.parts:
            net.get_submodule(part).eval()  # what lies behind may be learning
        with torch.autocast(self.device.type, torch.bfloat16, speed.precision == "bf16"):
            maps = net.endpoints(laid_out(images, speed), self.read or [self.after])
        if not self.read:
            return maps[self.after].cpu()
        return torch.cat([pooled(maps[part]) for part in self.read], 1)[..., None, None].cpu()


def pooled(maps: Tensor) -> Tensor:
    """The average of each map, then the maximum of each: (N, 2 C) from maps (N, C, H, W)."""
    maps = maps.float()
    return torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)


class MapBatches(ViewBatches):
    """The same batches, with maps of `frozen` instead of pictures: (N, C, H, W) of float16."""

    def __init__(self, samples: Samples, crop: RandomCrop, recipe: Recipe, frozen: FrozenMaps):
        super().__init__(samples, crop, recipe, frozen.cache)
        self.frozen = frozen

    def maps(self, view: int) -> Tensor:
        """The maps of a view of every picture, in order."""
        what = f"computing frozen layers, view {view + 1} of {self.views}"
        with self.pictures, self.centres:
            return self.frozen.of(
                self.pictures.samples, lambda k: self.picture(view, k), self.name(view), what
            )

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        order = permutation(len(self.pictures), self.seed, number)
        maps, targets = (
            self.maps(number % self.views),
            torch.from_numpy(self.pictures.samples.targets),
        )
        for step in range(start, len(self)):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield maps[batch], targets[batch]
