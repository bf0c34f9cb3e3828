"""The one published, really trained Inception that comes in a package, against TensorFlow.js itself.

`fixtures/nsfwjs_oracle.json` holds what TensorFlow.js makes of twelve photographs and drawings.
The weights (npm pack nsfwjs@4.4.0, 25 MB) are taken from the cache, or by npm where there is one.
"""

import hashlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from inceptive import Classifier
from inceptive.io.paths import cache_folder

pytestmark = pytest.mark.slow
ORACLE = json.loads((Path(__file__).parents[1] / "fixtures/nsfwjs_oracle.json").read_text())
STAMPS = Path("/usr/share/tuxpaint/stamps")  # Debian's tuxpaint-stamps-default


@pytest.fixture(scope="module")
def classifier():
    path = cache_folder() / "weights" / "nsfwjs-4.4.0.tgz"
    if not path.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("nsfwjs-4.4.0.tgz is not in the cache, and there is no npm")
        path.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([npm, "pack", "nsfwjs@4.4.0"], cwd=path.parent, capture_output=True)
        if done.returncode:
            pytest.skip("npm cannot fetch nsfwjs@4.4.0")
    return Classifier.load("inception_v3.nsfwjs", file=path)


def square(classifier, image):
    """The picture as our own preprocessing makes it, if it comes out as the oracle was shown it."""
    folder = STAMPS
    if image["package"] in ("scikit-learn", "elpv-dataset"):
        module = {"scikit-learn": "sklearn", "elpv-dataset": "elpv_dataset"}[image["package"]]
        spec = importlib.util.find_spec(module)
        inside = "datasets/images" if module == "sklearn" else "data/images"
        folder = Path(spec.submodule_search_locations[0]) / inside if spec else Path("nowhere")
    if not (folder / image["file"]).exists():
        pytest.skip(f"{image['package']} is not installed")
    array = classifier.preprocessing.load(folder / image["file"])
    seen = hashlib.sha256(np.ascontiguousarray(array.transpose(1, 2, 0)).tobytes()).hexdigest()
    if seen != image["sha256"]:
        pytest.skip("this Pillow decodes or resizes the picture otherwise")
    return torch.from_numpy(array)[None]


@pytest.mark.parametrize("image", ORACLE["images"], ids=lambda image: image["name"])
def test_probabilities_are_those_of_tensorflow_js(classifier, image):
    shown = square(classifier, image)
    probs = classifier.probs(shown)[0]
    assert list(classifier.labels) == ORACLE["classes"]
    np.testing.assert_allclose(probs, image["unit"]["probs"], atol=2e-5)
    names = {"mixed0": "mixed_5b", "mixed6": "mixed_6d", "pooled": "pool"}
    with torch.inference_mode():
        found = classifier.model.endpoints(classifier.normalise(shown), names.values())
    for theirs, ours in names.items():
        moments = found[ours].mean().item(), found[ours].std(correction=0).item()
        np.testing.assert_allclose(moments, image["unit"][theirs], rtol=1e-4, err_msg=theirs)


@pytest.mark.parametrize("image", ORACLE["images"][:4], ids=lambda image: image["name"])
def test_the_layers_are_right_at_the_range_that_keras_trained_them_in(classifier, image):
    shown = square(classifier, image).float() / 127.5 - 1
    with torch.inference_mode():
        probs = classifier.model(shown).softmax(1)[0]
    np.testing.assert_allclose(probs, image["tf"]["probs"], atol=2e-5)
