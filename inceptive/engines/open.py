"""The choice of engine for a model: torch, an exported file that needs no torch, or a peer.

Nothing here imports torch unless it is the engine: an exported model starts in a fraction of the time.
"""

from collections.abc import Callable
from pathlib import Path

from inceptive.arguments import checked
from inceptive.engines import header, onnx, records
from inceptive.engines.early_exit import EarlyExitEngine
from inceptive.engines.exported import ExportedEngine
from inceptive.engines.fastest import fastest_first
from inceptive.engines.foreign import open_foreign
from inceptive.engines.onnx import OnnxEngine
from inceptive.engines.openvino import OpenVinoEngine
from inceptive.engines.protocol import Engine
from inceptive.engines.records import ENGINES, Record
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.io.paths import expand

KINDS = ("auto", "torch", *ENGINES)
PRECISIONS = ("f32", "bf16", "int8")
PEERS = ("torchvision", "timm")
CLASSES: dict[str, type[ExportedEngine]] = {"onnx": OnnxEngine, "openvino": OpenVinoEngine}
Note = Callable[[str], None]
NAMES_ITSELF = "names its classes itself; labels are for weights that name none"


@checked
def open_engine(
    model: str | Path | Engine,
    name: str = "auto",
    note: Note = lambda _: None,
    early_exit: bool = False,
    threads: int = 0,
    *,
    file: str | Path | None = None,
    classes: tuple[str, ...] = (),
) -> Engine:
    """Open the engine that answers for `model`.

    model is a model folder, an exported file, a published name (`inceptive nets` lists them; file:
    local weights for it), "hf:owner/name", a torchvision or timm net ("torchvision:resnet18",
    "timm:resnet50@FILE"), a third-party ONNX file, or an engine.

    name is torch, onnx or openvino (its fastest file that passed its check, or one precision:
    "openvino:int8", whether it passed or not), or auto: the fastest export of the folder that
    passed its check and was made from the current weights, else torch. With early_exit its heads
    answer when confident, as set in the model folder; torch and OpenVINO support this. It runs on
    `threads` of the CPU (0: as many as it takes). classes: class names for a peer's FILE, an ONNX
    file without names or a weights file. note is called with what is left out and why, and which
    engine answers. Raises InceptiveError if there is no such engine or file, or it cannot run.
    """
    if isinstance(model, str | Path):
        engine = _open(model, name, note, early_exit, threads, file, classes)
    else:
        engine, model = model, model.name
        if name not in ("auto", model, model.partition(":")[0]):
            raise InceptiveError(
                f"engine {name}: the model is run by {model} already; name its folder"
            )
        if not early_exit:
            return engine
    if early_exit:
        engine = EarlyExitEngine(engine, str(model))
        note(f"note: {model}: heads do not tell whether an image is like none of the classes")
    note(f"{model}: answered by {engine.name}")
    return engine


def _open(
    model: str | Path,
    name: str,
    note: Note,
    early_exit: bool,
    threads: int,
    file: str | Path | None,
    classes: tuple[str, ...],
) -> Engine:
    kind, _, precision = name.partition(":")
    if kind not in KINDS or (precision and (kind not in ENGINES or precision not in PRECISIONS)):
        raise InvalidArgument(
            f"no engine is called {name!r}; there are: {', '.join(KINDS)}, "
            f"and {', '.join(f'{engine}:PRECISION' for engine in ENGINES)} ({', '.join(PRECISIONS)})"
        )
    if is_peer(model):
        if kind not in ("auto", "torch"):
            raise InceptiveError(f"{model}: is run by the engine torch, not {kind}")
        from inceptive.engines.peers import open_peer

        return open_peer(str(model), classes)
    folder = header.folder_of(expand(model))
    if classes and folder.is_dir():
        raise InceptiveError(f"{model}: {NAMES_ITSELF}")
    if is_exported(folder):
        return _file(folder, kind, precision, note, threads, classes)
    if kind == "torch" or file is not None or folder.is_file():
        return _torch(model, threads, file, classes)
    if precision:
        return open_exported(_file_of(folder, kind, precision, note), threads)
    if kind in ENGINES:
        usable = [record for record in records.usable(folder, note) if record.engine == kind]
        if not usable:
            raise InceptiveError(
                f"{folder}: has no export for {kind} that passed its check; "
                f"`inceptive export {folder} --to {kind}` makes one"
            )
        if engine := _fastest(folder, usable, note, early_exit, threads):
            return engine
        return open_exported(folder / usable[0].file, threads)  # which says why not
    try:
        usable = records.usable(folder, note)
    except InceptiveError as error:
        note(f"note: {error}")
        usable = []
    fastest = _fastest(folder, usable, note, early_exit, threads)
    return fastest or _torch(model, threads, None, classes)


def is_exported(model: str | Path) -> bool:
    """Whether `model` is a file, not a folder, with the suffix of an exported one."""
    path = Path(model)
    return path.suffix in ENGINES.values() and not path.is_dir()


def open_exported(path: Path, threads: int = 0) -> ExportedEngine:
    """Open a file that `inceptive export` wrote, by its suffix. See `ExportedEngine.open`."""
    return CLASSES[_kind_of(path)].open(path, threads)


def is_peer(model: str | Path) -> bool:
    """Whether `model` names a torchvision or timm net: PACKAGE:NAME, or PACKAGE:NAME@FILE."""
    package, colon, _ = str(model).partition(":")
    return bool(colon) and package in PEERS


def tells_no_classes(model: str | Path) -> bool:
    """Whether `model` is a torchvision or timm net, a third-party ONNX file or a weights file for
    classes other than the published ones.

    Such a model may not name its classes: `open_engine` gets those of the data. Raises InceptiveError
    for an ONNX file that ONNX Runtime does not accept, and for a file without weights.
    """
    path = header.folder_of(expand(model))
    if is_peer(model):
        return True
    if is_exported(path):
        onnx_file = path.suffix == ENGINES["onnx"] and path.is_file()
        return onnx_file and onnx.is_foreign(onnx.session(path))
    if path.is_dir() or not (path.is_file() or "@" in str(model)):
        return False
    from inceptive.weights.load import has_other_classes, named_weights

    weights = named_weights(str(model))
    return bool(weights and weights[1] and has_other_classes(weights[0], weights[1]))


def _kind_of(path: Path) -> str:
    """The engine that runs the exported file at `path`: onnx or openvino."""
    return next(kind for kind, ending in ENGINES.items() if path.suffix == ending)


def _file(
    path: Path, kind: str, precision: str, note: Note, threads: int, classes: tuple[str, ...]
) -> Engine:
    own = _kind_of(path)
    if kind not in ("auto", own):
        raise InceptiveError(f"{path}: is run by the engine {own}, not {kind}")
    if own == "onnx" and path.is_file():
        session = onnx.session(path, threads)
        if onnx.is_foreign(session) and not precision:
            foreign = open_foreign(path, session, classes)
            note(
                f"note: {path} tells no preprocessing: it is shown images of "
                f"{foreign.preprocessing.size} pixels as ImageNet's nets are, and answers with "
                f"{len(foreign.labels)} classes in their order"
            )
            return foreign
        engine: ExportedEngine = OnnxEngine.from_session(path, session)
    else:
        engine = open_exported(path, threads)
    if classes:
        raise InceptiveError(f"{path}: {NAMES_ITSELF}")
    if precision and precision != engine.metadata.precision:
        raise InceptiveError(f"{path}: is {engine.metadata.precision}, not {precision}")
    return engine


def _file_of(folder: Path, kind: str, precision: str, note: Note) -> Path:
    """The file of one precision; a note if it did not pass its check, or is of other weights."""
    path = folder / file_name(kind, precision)
    if not path.is_file():
        raise InceptiveError(
            f"{folder}: has no {path.name}; "
            f"`inceptive export {folder} --to {kind} --precision {precision}` makes one"
        )
    if path.name not in [record.file for record in records.usable(folder, note)]:
        note(f"note: {path.name} has not passed its check beside these weights")
    return path


def _fastest(
    folder: Path, usable: list[Record], note: Note, early_exit: bool, threads: int
) -> ExportedEngine | None:
    """The fastest of the exports `usable`; those that cannot be opened here are left out, and with
    early_exit those without heads."""
    ranked = fastest_first(folder, usable, lambda path: open_exported(path, threads), note)
    for record in ranked:
        try:
            engine = open_exported(folder / record.file, threads)
            if engine.early_exit or not early_exit:
                return engine
        except InceptiveError as error:
            note(f"note: {record.file} is left out: {error}")
    return None


def file_name(kind: str, precision: str) -> str:
    """Name of the exported file of an engine in one precision: model.int8.onnx."""
    return f"model.{precision}{ENGINES[kind]}"


def _torch(
    model: str | Path, threads: int, file: str | Path | None, classes: tuple[str, ...]
) -> Engine:
    import torch

    from inceptive.engines.classifier import Classifier

    if threads:
        torch.set_num_threads(threads)
    return Classifier.load(model, file, labels=classes).to(
        "cuda" if torch.cuda.is_available() else "cpu"
    )
