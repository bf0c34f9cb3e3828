"""Who may look into which room, read from the import statements themselves."""

import ast
from pathlib import Path

import inceptive

PACKAGE = Path(inceptive.__file__).parent
ROWS = [
    ["errors"],
    ["arguments"],
    ["arch", "io"],
    ["reference", "nn", "images", "metrics"],
    ["data"],
    ["weights"],
    ["engines"],
    ["report"],
    ["evaluation"],
    ["training", "explaining", "exporting"],
    ["comparison", "fidelity", "scale", "serving"],
    ["cli"],
    ["__main__"],
]
THIN = {"engines/classifier.py": {"evaluation", "explaining", "exporting"}}
"""Methods that only call a function of a room below: imported inside them."""
WITHOUT_TORCH = {"errors", "arguments", "io", "arch", "images", "metrics", "reference", "cli"}
"""At the top of their modules; functions of `cli` import what they need."""
PLAIN = {"errors", "arguments", "arch"}
"""Rooms that need nothing but the standard library."""
OPTIONAL = {
    "pi_heif": "images/decoding.py",
    "sklearn": ("data/builtin.py", "evaluation/feature_map.py"),
    "filelock": "io/locks.py",  # none of these, but `--help` takes none of its time
    "h5py": "weights/readers/keras_h5.py",
    "webdataset": "data/shards/writing.py",
    "pyarrow": "io/store/systems.py",
    "fsspec": "io/store/systems.py",
    "aiohttp": "io/store/systems.py",
    "ray": "scale/cluster.py",
    "onnx": "engines/graph.py",
    "onnxruntime": "engines/onnx.py",
    "openvino": "engines/openvino.py",
    "nncf": "engines/openvino.py",
    "captum": "explaining/attribution.py",
    "fastapi": "serving/app.py",
    "prometheus_client": "serving/metrics.py",
    "starlette": ("serving/app.py", "serving/inference.py", "serving/metrics.py"),
    "uvicorn": "serving/listen.py",
    "matplotlib": "explaining/figures.py",
}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """(module, at the top of the file?) for each import in a file."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield name, node in tree.body


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or
            path.name not in ("__init__.py",)]  # fmt: skip


def test_every_room_is_in_the_map():
    assert {room(path) for path in modules()} == {name for row in ROWS for name in row}


def test_contributors_read_the_same_map():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    assert "\n".join("    " + " ".join(names) for names in ROWS[:-1]) in text


def test_a_module_imports_only_from_rows_above_its_own():
    row = {name: k for k, names in enumerate(ROWS) for name in names}
    for path in modules():
        below = THIN.get(path.relative_to(PACKAGE).as_posix(), set())
        for name, at_top in imports(path):
            parts = name.split(".")
            if parts[0] == "inceptive" and len(parts) > 1 and parts[1] in row:
                if parts[1] in below and not at_top:
                    continue
                above = row[parts[1]] < row[room(path)]
                assert above or parts[1] == room(path), f"{path} imports {name}"


def test_the_two_witnesses_of_the_mathematics_never_see_each_other():
    for path in modules():
        if room(path) in ("reference", "nn"):
            other = {"reference": "nn", "nn": "reference"}[room(path)]
            for name, _ in imports(path):
                assert not name.startswith(f"inceptive.{other}"), (path, name)


def test_torch_and_others_stay_out_of_the_light_rooms():
    for path in modules():
        outside = {name.split(".")[0] for name, at_top in imports(path) if at_top} - {"inceptive"}
        if room(path) in WITHOUT_TORCH:
            assert not outside & {"torch", "safetensors"}, path
        if room(path) in PLAIN:
            import sys

            assert outside <= sys.stdlib_module_names, (path, outside)


def test_optional_packages_are_imported_where_they_are_needed_and_not_before():
    for path in modules():
        for name, at_top in imports(path):
            package = name.split(".")[0]
            if package in OPTIONAL:
                assert str(path).endswith(OPTIONAL[package]) and not at_top, (path, name)


def test_peers_are_never_a_dependency():
    peers = {"torchvision", "timm", "keras", "pytorchcv", "facenet_pytorch", "pytorch_fid",
             "pretrainedmodels", "lucent", "torch_fidelity", "cleanfid"}  # fmt: skip
    for path in modules():
        if path != PACKAGE / "engines/peers.py":  # compared there, where they are installed
            assert not {name.split(".")[0] for name, _ in imports(path)} & peers, path


def test_nothing_is_called_utils():
    for path in modules():
        assert path.stem not in ("utils", "common", "helpers", "misc"), path


def test_nothing_in_the_package_looks_outside_it():
    for path in PACKAGE.rglob("*.py"):
        for name, _ in imports(path):
            assert name.split(".")[0] not in ("benchmarks", "tests", "tools"), (path, name)
