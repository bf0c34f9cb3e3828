"""Export of a model to a file that runs without torch, checked against torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inceptive.arguments import NonNegativeFloat, checked
from inceptive.data.open import open_data_for
from inceptive.data.source import Data
from inceptive.engines import records
from inceptive.engines.classifier import Classifier
from inceptive.engines.open import PRECISIONS
from inceptive.engines.records import ENGINES, Record
from inceptive.errors import InceptiveError, InvalidArgument
from inceptive.exporting.calibration import ExportData, from_data, synthetic
from inceptive.exporting.web import check_ready, write_site
from inceptive.exporting.write import NO_IMAGES, WEB, check_runnable, write_export
from inceptive.io.paths import expand
from inceptive.io.progress import ON_STANDARD_ERROR, Progress, Silent


@dataclass(frozen=True)
class Export:
    """An exported file: its path, its engine, and how it compares with torch on `images`.

    A site (engine web) is a folder; its ONNX file is what was compared, by ONNX Runtime on this machine.
    bytes: total of its files. Shares are 0-1; top1 and top1_torch are None without labels. agreement:
    the share of images with torch's answer; difference: the largest between the logits, as a fraction
    of the largest logit; drop: points of top-1 lost (of answers, without labels). passed: whether
    difference (f32) or drop (bf16, int8) is at most `bound`. Speeds are for batches of 16, and for one
    image alone in milliseconds, measured alternately with torch's.

    >>> exported = inceptive.export("runs/mine", "onnx")
    >>> exported.name, exported.passed
    ('onnx:f32', True)
    """

    path: Path
    engine: str
    precision: str
    bytes: int
    images: str
    count: int
    top1: float | None
    top1_torch: float | None
    agreement: float
    difference: float
    drop: float
    bound: float
    passed: bool
    ms_per_image: float
    ms_per_image_torch: float
    images_per_second: float
    images_per_second_torch: float

    @classmethod
    def from_record(cls, folder: Path, record: Record) -> "Export":
        path, speed = folder / record.file, record.speed
        size = sum(file.stat().st_size for file in _files(path))
        return cls(
            path=path, engine=record.engine, precision=record.precision, bytes=size,
            **record.check, passed=record.passed, ms_per_image=speed["ms_per_image"],
            ms_per_image_torch=speed["torch_ms_per_image"],
            images_per_second=speed["images_per_second"],
            images_per_second_torch=speed["torch_images_per_second"],
        )  # fmt: skip

    @property
    def name(self) -> str:
        """The name for `--engine`: openvino:int8."""
        return f"{self.engine}:{self.precision}"

    @property
    def files(self) -> list[Path]:
        """path and, for OpenVINO's .xml, the weights next to it; all files of a site."""
        return _files(self.path)

    @property
    def reason(self) -> str:
        """Why the check failed, in words; "" if it passed."""
        if self.passed:
            return ""
        if self.precision == "f32":
            return (
                f"differs from torch by {self.difference:.1e} of the largest logit, "
                f"over the bound of {self.bound:.0e}"
            )
        lost = "of top-1" if self.top1 is not None else "of the answers change"
        return (
            f"loses {self.drop:.2f} points {lost} on {self.images}, "
            f"over the bound of {self.bound:g} (max_drop)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-compatible values."""
        return asdict(self) | {"path": str(self.path), "name": self.name}


@checked
def export(
    model: str | Path | Classifier,
    to: str = "onnx",
    precision: str = "f32",
    *,
    calibrate: str | Path | Data | None = None,
    max_drop: NonNegativeFloat = 0.5,
    out: str | Path | None = None,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> Export:
    """Export `model` to a file for the engine `to` (onnx, openvino), and check it against torch.

    to web: a folder for any static host, or `python -m http.server`, whose page answers in the
    visitor's browser, with nothing sent; out names it, by default `site` in the model's folder.

    precision: f32, as trained; bf16, for OpenVINO on CPUs that support it; int8, calibrated on training
    images of `calibrate`: a dataset as for `open_data`, by default the one the model was trained on.
    The file is checked on its validation images (random pictures, if there are none): f32 must match
    torch's logits up to rounding, the others lose at most `max_drop` points of top-1. The file is
    kept whether or not it passes, but never chosen automatically if it does not. out: a folder, by
    default the model's. Raises InceptiveError if an optional package is missing, the CPU has no bf16,
    int8 has no images, or the folder cannot be written.

    >>> inceptive.export("runs/mine", "onnx", "int8", calibrate="digits").name
    'onnx:int8'
    """
    check_runnable(to, precision)
    progress = progress or Silent()
    classifier, folder, weights = _open(model, out, progress)
    if to == WEB:
        folder = folder if out is not None else folder / "site"
        check_ready(folder)
    data = _export_data(classifier, calibrate, precision == "int8", progress)
    return _export(classifier, folder, weights, to, precision, data, max_drop, progress)


@checked
def export_all(
    model: str | Path | Classifier,
    precision: str | None = None,
    *,
    calibrate: str | Path | Data | None = None,
    max_drop: NonNegativeFloat = 0.5,
    out: str | Path | None = None,
    progress: Progress | None = ON_STANDARD_ERROR,
) -> list[Export]:
    """Export for every installed engine, in one precision or in all that run here: see `export`.

    What cannot run here, or fails, is reported to `progress`, with the reason. Raises InceptiveError if
    nothing can be exported.

    >>> [each.name for each in inceptive.export_all("runs/mine", "f32")]
    ['onnx:f32', 'openvino:f32']
    """
    progress = progress or Silent()
    classifier, folder, weights = _open(model, out, progress)
    runnable, why = [], ""
    for to in ENGINES:
        for each in (precision,) if precision else PRECISIONS:
            try:
                check_runnable(to, each)
                runnable.append((to, each))
            except InvalidArgument:
                raise
            except InceptiveError as error:
                why = str(error)
                progress.say(f"{to}:{each} is left out: {error}")
    int8 = any(each == "int8" for _, each in runnable)
    data = _export_data(classifier, calibrate, int8, progress, needed=False)
    if int8 and not len(data.calibration):
        why = NO_IMAGES
        progress.say(f"int8 is left out: {why}")
        runnable = [(to, each) for to, each in runnable if each != "int8"]
    if not runnable:
        raise InceptiveError(f"nothing can be exported here: {why}")
    written, failed = [], None
    for to, each in runnable:
        try:
            written.append(_export(classifier, folder, weights, to, each, data, max_drop, progress))
        except InceptiveError as error:  # one engine's trouble is not the others'
            progress.say(f"{to}:{each} failed: {error}")
            failed = error
    if failed and not written:
        raise failed
    return written


def _open(
    model: str | Path | Classifier, out: str | Path | None, progress: Progress
) -> tuple[Classifier, Path, str]:
    """The classifier, the folder for its files, and the fingerprint of the weights that it was loaded
    from: "" if it was changed since, so that no file answers for what is on the disk."""
    if isinstance(model, Classifier):
        classifier, path = model, model.path
        if (
            path
            and path.is_file()
            and Classifier.load(path.parent).fingerprint != model.fingerprint
        ):
            path = None
    else:
        classifier = Classifier.load(model, progress=progress)
        path = classifier.path
    weights = records.fingerprint(path) if path and path.is_file() else ""
    if out is not None:
        return classifier, expand(out), weights
    if classifier.path is None:
        name = classifier.model.net.name if isinstance(model, Classifier) else model
        raise InceptiveError(f"{name} is no folder: name one for the file (out)")
    return classifier, classifier.path.parent, weights


def _export(
    classifier: Classifier,
    folder: Path,
    weights: str,
    to: str,
    precision: str,
    data: ExportData,
    max_drop: float,
    progress: Progress,
) -> Export:
    options = precision, data, max_drop, weights, progress.say
    if to == WEB:
        written = Export.from_record(folder, write_site(classifier, folder, *options))
        files, more = str(folder), f"to look at it: python -m http.server -d {folder}"
    else:
        written = Export.from_record(folder, write_export(classifier, folder, to, *options))
        files = " and ".join(map(str, written.files))
        more = f"its check: {folder / records.EXPORTS}"
    progress.say(f"written: {files} ({written.bytes / 1e6:.1f} MB); {more}")
    return written


def _files(path: Path) -> list[Path]:
    """All files of an export, which are those of a folder if it is a site."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return records.files(path)


def _export_data(
    classifier: Classifier,
    calibrate: str | Path | Data | None,
    int8: bool,
    progress: Progress,
    needed: bool = True,
) -> ExportData:
    """Images of `calibrate`, else of what the model was trained on, else random pictures.

    Raises InceptiveError if `calibrate` cannot be read, or int8 that is `needed` has no images.
    """
    record = classifier.data
    source = calibrate if calibrate is not None else record.get("name")
    if not source and int8 and needed:
        raise InceptiveError(NO_IMAGES)
    if not source:
        progress.say(
            "note: no images to check on (calibrate names some); random pictures stand for them"
        )
        return synthetic(classifier.preprocessing)
    try:
        return from_data(classifier, open_data_for(source, record, progress=progress), int8)
    except InceptiveError as error:
        if calibrate is not None:
            raise
        if int8 and needed:
            raise InceptiveError(f"{error}; name other images (calibrate)") from None
        progress.say(f"note: {error}; random pictures stand for the images it learned")
        return synthetic(classifier.preprocessing)
