"""docs/faces.md is run, beside facenet-pytorch's own class with the same weights."""

import contextlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from weights.test_peers import draw, facenet

pytestmark = pytest.mark.peers
DOC = Path(__file__).parents[2] / "docs/faces.md"


def test_the_page_gives_facenets_embeddings(tmp_path):
    with torch.device("meta"):
        net = facenet()()
    net = draw(net.to_empty(device="cpu"))
    file = tmp_path / "faces.pt"
    torch.save(net.state_dict(), file)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), np.uint8)
    for name, each in zip(("anna-1", "anna-2", "ben"), pixels, strict=True):
        Image.fromarray(each).save(tmp_path / f"{name}.png")
    [code] = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.S)
    name, variables = "inception_resnet_v1.vggface2", {}
    assert f'"{name}"' in code
    with contextlib.chdir(tmp_path):
        exec(code.replace(name, f"{name}@{file}"), variables)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127.5) / 128
    net.classify = False
    with torch.inference_mode():
        theirs = net(x).numpy()
    np.testing.assert_allclose(variables["embeddings"], theirs, atol=1e-5)
    assert np.ptp(theirs, axis=0).max() > 1e-2
    np.testing.assert_allclose(np.diag(variables["similarity"]), 1, atol=1e-6)
