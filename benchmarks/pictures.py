"""Photographs to decode: given ones, or made of what is at hand, as files of a camera's size."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.setting import Setting
from inceptive.data.layout import list_images
from inceptive.errors import InceptiveError, printable
from inceptive.images import decode

CAMERA = (4000, 3000)
"""Twelve million pixels."""


def photographs(setting: Setting, size: tuple[int, int], count: int) -> tuple[list[Path], str]:
    """`count` JPEG files of `size` (width, height), and where they are from; or the given ones, all.

    Crops of real photographs, enlarged, with a sensor's noise, so that their bytes are as many as a
    camera's. Raises InceptiveError if the folder of the setting holds no images.
    """
    if setting.images is not None:
        images, _, _ = list_images(setting.images)
        if not images:
            raise InceptiveError(f"{printable(setting.images)}: holds no images")
        return [Path(one) for one in images], f"{len(images)} of {printable(setting.images.name)}"
    folder = setting.folder / f"photographs-{size[0]}x{size[1]}-{count}"
    sources, origin = _sources()
    files = [folder / f"{number:04}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            made = _enlarged(sources[number % len(sources)], size, number)
            made.save(file, quality=90)
    megabytes = sum(file.stat().st_size for file in files) / count / 1e6
    told = f"{count} of {size[0]} x {size[1]} pixels, {megabytes:.1f} MB each, made from {origin}"
    return files, told


def _sources() -> tuple[list[Image.Image], str]:
    """Real photographs that come inside scikit-learn, found without importing it; else noise."""
    found = find_spec("sklearn")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent / "datasets" / "images"
        if files := sorted(folder.glob("*.jpg")):
            return [decode(file) for file in files], "scikit-learn's photographs"
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return [Image.fromarray(small).resize((640, 480), Image.Resampling.BICUBIC)], "smooth noise"


def _enlarged(source: Image.Image, size: tuple[int, int], seed: int) -> Image.Image:
    """A part of `source` that `seed` draws, of `size` pixels, with noise of 4 grey levels."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.5, 0.9)
    scale = min(source.width / size[0], source.height / size[1]) * share
    width, height = size[0] * scale, size[1] * scale
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    box = (left, top, left + width, top + height)
    large = np.asarray(source.resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.int16)
    tile = rng.normal(0, 4, (500, 500, 3)).astype(np.int16)
    noise = np.tile(tile, (-(-size[1] // 500), -(-size[0] // 500), 1))[: size[1], : size[0]]
    return Image.fromarray((large + noise).clip(0, 255).astype(np.uint8))
