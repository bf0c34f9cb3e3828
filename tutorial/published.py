"""Published weights for the first chapter: the publishers' own, or stand-ins where none can be had."""

import atexit
import functools
import http.server
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import sklearn.datasets
import torch

from inceptive.engines.open import open_engine
from inceptive.engines.peers import package
from inceptive.errors import InceptiveError
from inceptive.weights.catalogue import catalogue

NETS = {
    "GoogLeNet": "googlenet.torchvision",
    "ResNet-18": "torchvision:resnet18",
    "VGG-11": "torchvision:vgg11",
}
PHOTOGRAPHS = Path(sklearn.datasets.__file__).parent / "images"
"""Two photographs that come with scikit-learn."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@functools.cache
def _site() -> tuple[Path, str]:
    """A folder, and the address under which this process serves it on loopback."""
    folder = tempfile.mkdtemp(prefix="inceptive-book-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # more than a gigabyte
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    others = os.environ.get("no_proxy", "")
    os.environ["no_proxy"] = f"{others},127.0.0.1".lstrip(",")
    return Path(folder), f"http://127.0.0.1:{server.server_port}"


def address(name: str) -> str:
    """Where one of PHOTOGRAPHS is served, as a page on the web would serve it."""
    folder, at = _site()
    shutil.copy(PHOTOGRAPHS / name, folder)
    return f"{at}/{name}"


def ready() -> str:
    """Let NETS be opened by their names; says with which weights."""
    try:
        for name in NETS.values():
            open_engine(name)
        return "The weights are their publishers'."
    except InceptiveError:
        _stand_in()
        return (
            "No weights could be fetched while this page was built. In their place stand weights drawn "
            "at random, which the page serves to itself: the names below mean nothing here, and the "
            "cells are those that give the real ones."
        )


def _stand_in() -> None:
    """Weights drawn at random under the files' names, served on loopback, fetched into a folder that
    is no cache of the reader's."""
    folder, at = _site()
    for variable in ("INCEPTIVE_OFFLINE", "HF_HUB_OFFLINE"):
        os.environ.pop(variable, None)
    os.environ["INCEPTIVE_CACHE"] = str(folder / "cache")
    torch.manual_seed(0)
    models = package("torchvision.models")
    nets = {
        catalogue()["googlenet.torchvision"].file: models.googlenet(init_weights=False),
        "resnet18.pth": models.resnet18(),
        "vgg11.pth": models.vgg11(),
    }
    for file, net in nets.items():
        torch.save(net.state_dict(), folder / file)
    published = catalogue()["googlenet.torchvision"]
    catalogue()[published.name] = replace(published, url=f"{at}/{published.file}", digest="")

    def fetched(url: str, *_: Any, **__: Any) -> Any:
        file = Path(url).name.partition("-")[0] + ".pth"
        return torch.hub.load_state_dict_from_url(
            f"{at}/{file}", str(folder / "cache"), progress=False
        )

    models._api.load_state_dict_from_url = fetched
