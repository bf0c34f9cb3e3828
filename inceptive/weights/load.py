"""Published weights, downloaded, checked and loaded into the net that they were trained with."""

import logging
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import numpy as np
import torch
from torch import nn

from inceptive.arch import nets
from inceptive.arch.spec import Net
from inceptive.errors import InceptiveError, reason
from inceptive.io.downloads import download, is_text, matches, offline
from inceptive.io.paths import cache_folder, expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress
from inceptive.nn import Model, build
from inceptive.weights import layouts
from inceptive.weights.catalogue import Published, catalogue
from inceptive.weights.names import SOURCES, Source, key_table
from inceptive.weights.readers import read

NO_TELEMETRY = {"user-agent": "inceptive"}
"""In place of what huggingface_hub tells of this machine unless HF_HUB_DISABLE_TELEMETRY is set."""
log = logging.getLogger("inceptive")


FIRST_CHOICES = ("inception_v3.gluon_in1k", "inception_v3.tf_in1k", "inception_v3.tv_in1k",
                 "inception_v3.nsfwjs")  # fmt: skip
"""Published weights to start from, by their stated accuracy on ImageNet (78.8, 77.9, 77.5 %).

All are of Inception v3; which is the best to learn from was not measured. The last learned other
pictures in its last modules, which a probe finds out.
"""


def first_choice() -> str:
    """The published weights to use where none are named: the first of FIRST_CHOICES in the cache, else
    the first of them."""
    choices = (name for name in FIRST_CHOICES if is_cached(catalogue()[name]))
    return next(choices, FIRST_CHOICES[0])


def load(published: Published, path: Path) -> Model:
    """Load the model of `published` with the weights in the file at `path`, in evaluation mode.

    Other weights in that format may lack the heads, which only training needs, and have other classes.
    Raises InceptiveError if the file is damaged or does not fit; then nothing is loaded.
    """
    arrays = read(path)
    model = build(_net_of(published, arrays)).float()
    fill(model, published, arrays, str(path))
    return model.eval()


def has_other_classes(published: Published, path: Path) -> bool:
    """Whether the weights at `path` have classes other than the published ones, hence unnamed."""
    return _net_of(published, read(path)).num_classes != published.classes


def _net_of(published: Published, arrays: Mapping[str, np.ndarray]) -> Net:
    """The net of the tensors in a file: with its heads if they are there, for as many classes."""
    net, source = nets.NETS[published.net](published.classes), SOURCES[published.source]
    if not published.heads:
        net = net.without_aux()
    with torch.device("meta"):
        table = key_table(source, build(net).state_dict())
    canonical = source.canonical(arrays)
    theirs = {canonical[name]: array for name, array in arrays.items()}
    heads = tuple(f"{head}." for head in net.heads())
    if heads and not any(table[key] in theirs for key in table if key.startswith(heads)):
        net = net.without_aux()
    key = f"{net.last}.weight"
    last = theirs.get(table[key] or "")
    if last is not None and not published.background:
        rows = layouts.to_torch(last, key, source.layout, (published.classes, 1))
        net = net.with_classes(len(rows)) if rows.ndim == 2 else net
    return net


def recognised(path: Path) -> Published:
    """The published weights with the net and tensor names of the file at `path`.

    Raises InceptiveError if none match, or several with different preprocessing.
    """
    arrays = read(path)
    fitting: dict[tuple[str, str], bool] = {}
    candidates = []
    for published in catalogue().values():
        kind = published.net, published.source
        if kind not in fitting:
            fitting[kind] = _fits(published, arrays)
        if fitting[kind]:
            candidates.append(published)
    if not candidates:
        raise InceptiveError(
            f"{path}: has the layers of no net here as their publishers name them; a net of another "
            "kind is compared with (torchvision:NAME@FILE, timm:NAME@FILE)"
        )
    if len({(published.net, published.preprocessing) for published in candidates}) > 1:
        names = ", ".join(published.name for published in candidates)
        raise InceptiveError(
            f"{path}: fits {names}, which are shown images otherwise; say which: "
            f"{candidates[0].name}@{path}"
        )
    return candidates[0]


def _fits(published: Published, arrays: Mapping[str, np.ndarray]) -> bool:
    stem = [*SOURCES[published.source].units.values()][:3]
    if not all(any(name.startswith(unit) for name in arrays) for unit in stem):
        return False  # which building the net would find out, too
    try:
        with torch.device("meta"):
            shapes = dict.fromkeys(build(_net_of(published, arrays)).state_dict(), ())
        _named(SOURCES[published.source], shapes, arrays, "")
    except (InceptiveError, KeyError, ValueError):  # names of another publisher
        return False
    return True


def named_weights(weights: str) -> tuple[Published, Path | None] | None:
    """Resolve `weights`: published ones, NAME@FILE, or a file of such; None if it is none of these."""
    name, at, file = weights.partition("@")
    if name in catalogue():
        return catalogue()[name], expand(file) if at else None
    path = expand(weights)
    return (recognised(path), path) if path.is_file() else None


def fetch(published: Published, progress: Progress | None = ON_STANDARD_ERROR) -> Path:
    """Return the path of the file in the cache, downloading it unless it is already there.

    Before a download, a line reports what is downloaded, from where, its size and its licence.
    Files from the Hugging Face Hub are kept in the hub's own cache. The network is not used if
    INCEPTIVE_OFFLINE or HF_HUB_OFFLINE is set. Raises InceptiveError, saying
    what to download and where to put it, if it is unavailable.
    """
    path = cache_folder() / "weights" / published.file
    if path.is_file():
        content = path.read_bytes()
        is_published = matches(content, published.digest)
        if is_published and (published.digest or not is_text(content)):
            return path
        if not is_text(content):
            raise InceptiveError(f"{path}: is not the file published (its hash differs); remove it")
        _remove(path)
        log.warning("note: %s held a page of text, not weights, and is removed", path)
    if published.hub:
        return _from_hub(
            published.hub,
            path.name,
            f"; fetch {path.name} by hand and put it at {path}",
            _announcement(published, f"the Hugging Face hub, {published.hub}"),
            progress,
        )
    if not published.url:
        raise InceptiveError(f"{published.name}: {published.note}; then put it at {path}")
    if progress and not offline():
        progress.say(_announcement(published, published.url))
    download(published.url, published.digest, path, progress, check=read)
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise InceptiveError(
            f"{path}: holds a page of text, not weights, and cannot be removed ({reason(error)})"
        ) from None


def is_cached(published: Published) -> bool:
    """Whether its file is in the cache, including the hub's own. Uses no network."""
    if (cache_folder() / "weights" / published.file).is_file():
        return True
    if not published.hub:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(published.hub, Path(published.file).name), str)


def _announcement(published: Published, place: str) -> str:
    size = f"{published.megabytes:.0f} MB, " if published.megabytes else ""
    return f"fetching {published.name} from {place} ({size}licence {published.licence})"


def by_hand(published: Published, file: str | Path) -> Path:
    """A user-supplied file: other weights in the same format are accepted, and reported as such."""
    path = expand(file)
    if not path.exists() and not path.with_name(f"{path.name}.index").is_file():
        raise InceptiveError(f"{path}: there is no such file")
    if published.digest and path.is_file() and not is_published(published, path):
        log.warning("%s is not the file published as %s: its hash differs", path, published.name)
    return path


def is_published(published: Published, path: Path) -> bool:
    """Whether the file at `path` is certainly the published one: its digest is known and matches."""
    return (
        bool(published.digest) and path.is_file() and matches(path.read_bytes(), published.digest)
    )


def hub_folder(hub: str) -> Path:
    """The model folder of a Hugging Face Hub repository, in the hub's own cache."""
    if len(list(filter(None, hub.split("/")))) != 2:
        raise InceptiveError(f"after hf: stands OWNER/NAME of the Hugging Face hub, not {hub!r}")
    for name in ("model.safetensors", "config.json"):
        path = _from_hub(hub, name)
    return path.parent


def _from_hub(
    hub: str,
    name: str,
    by_hand: str = "",
    announcement: str = "",
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        try:
            return Path(hf_hub_download(hub, name, local_files_only=True))
        except LocalEntryNotFoundError:
            if variable := offline():
                raise InceptiveError(
                    f"{hub}: its {name} is not in the hub's cache, and the network is not asked, "
                    f"because {variable} is set{by_hand}"
                ) from None
            if progress and announcement:
                progress.say(announcement)
            if not getproxies():  # without a network it would try for half a minute
                socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
            return Path(hf_hub_download(hub, name, headers=NO_TELEMETRY))
    except InceptiveError:
        raise
    except Exception as error:
        # Each library beneath has classes of its own, some of no common base.
        raise InceptiveError(
            f"{hub}: its {name} cannot be had from the Hugging Face hub ({reason(error)}){by_hand}"
        ) from None


def fill(model: Model, published: Published, arrays: Mapping[str, np.ndarray], origin: str) -> None:
    """Load the publisher's tensors into `model`: all of them, or none if one does not fit.

    Raises InceptiveError, naming `origin`, what is missing, what is unknown and what has a different
    shape.
    """
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    source = SOURCES[published.source]
    theirs = _named(source, shapes, arrays, origin)
    classifiers = _classifiers(model)
    first = next(iter(shapes))
    state, wrong = {}, []
    for key, shape in shapes.items():
        if (array := theirs.get(key)) is None:
            # Their normalisation has no gamma: it is one. Their batches are not counted.
            state[key] = torch.ones(shape) if shape else torch.tensor(0)
            continue
        array = layouts.to_torch(array, key, source.layout, shape)
        if published.background and key.rpartition(".")[0] in classifiers:
            array = layouts.without_background(array, published.classes)
        if published.bgr and key == first:
            array = layouts.bgr_to_rgb(array)
        if array.shape != shape:
            wrong.append(f"{key} {tuple(array.shape)} for {shape}")
            continue
        state[key] = torch.from_numpy(np.ascontiguousarray(array))
    if wrong:
        raise InceptiveError(f"{origin}: does not fit {model.net.name}: {listed(wrong)}")
    model.load_state_dict(state)


def _named(
    source: Source,
    keys: Mapping[str, tuple[int, ...]],
    arrays: Mapping[str, np.ndarray],
    origin: str,
) -> dict[str, np.ndarray]:
    """Our key -> their array. Raises InceptiveError with what is missing and what is unknown."""
    table = key_table(source, keys)
    canonical = source.canonical(arrays)
    theirs = {canonical[name]: array for name, array in arrays.items()}
    missing = [
        name
        for key, name in table.items()
        if name is not None and name not in theirs and not key.endswith("num_batches_tracked")
    ]
    unknown = sorted(set(theirs) - set(table.values()) - set(source.ignored))
    if missing or unknown:
        raise InceptiveError(
            f"{origin}: is not the checkpoint expected; missing {len(missing)}: "
            f"{listed(missing)}; unknown {len(unknown)}: {listed(unknown)}"
        )
    return {key: theirs[name] for key, name in table.items() if name in theirs}


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "none") + more


def _classifiers(model: Model) -> set[str]:
    """The modules that end in classes: the last layer, and that of each head."""
    classes = model.net.num_classes
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    }
