"""Every net of the family by name. `NETS["googlenet"](num_classes=10, channels=3)` gives a value."""

from collections.abc import Callable
from functools import partial

from inceptive.arch.codec import first_difference
from inceptive.arch.nets.baselines import alexnet, vgg16
from inceptive.arch.nets.bn_inception import bn_inception
from inceptive.arch.nets.googlenet import googlenet
from inceptive.arch.nets.hadamard import hadamard_inception
from inceptive.arch.nets.inception_resnet import inception_resnet
from inceptive.arch.nets.inception_v3 import inception_v3
from inceptive.arch.nets.inception_v4 import inception_v4
from inceptive.arch.nets.xception import xception
from inceptive.arch.spec import Net
from inceptive.errors import InceptiveError

NETS: dict[str, Callable[..., Net]] = {
    "googlenet": partial(googlenet, "googlenet"),
    "googlenet.bn": partial(googlenet, "googlenet.bn"),
    "googlenet.torchvision": partial(googlenet, "googlenet.torchvision"),
    "googlenet.slim": partial(googlenet, "googlenet.slim"),
    "googlenet.inception5h": partial(googlenet, "googlenet.inception5h"),
    "bn_inception": partial(bn_inception, "bn_inception"),
    "bn_inception.cadene": partial(bn_inception, "bn_inception.cadene"),
    "inception_v2.slim": partial(bn_inception, "inception_v2.slim"),
    "inception_v3": partial(inception_v3, "inception_v3"),
    "inception_v3.slim": partial(inception_v3, "inception_v3.slim"),
    "inception_v3.keras": partial(inception_v3, "inception_v3.keras"),
    "inception_v3.torchvision": partial(inception_v3, "inception_v3.torchvision"),
    "inception_v3.fid": partial(inception_v3, "inception_v3.fid"),
    "inception_v3.nsfwjs": partial(inception_v3, "inception_v3.nsfwjs"),
    "inception_v4": partial(inception_v4, "inception_v4"),
    "inception_v4.slim": partial(inception_v4, "inception_v4.slim"),
    "inception_resnet_v1": partial(inception_resnet, "inception_resnet_v1"),
    "inception_resnet_v1.facenet": partial(inception_resnet, "inception_resnet_v1.facenet"),
    "inception_resnet_v2": partial(inception_resnet, "inception_resnet_v2"),
    "inception_resnet_v2.slim": partial(inception_resnet, "inception_resnet_v2.slim"),
    "inception_resnet_v2.keras": partial(inception_resnet, "inception_resnet_v2.keras"),
    "inception_resnet_v2.paper": partial(inception_resnet, "inception_resnet_v2.paper"),
    "xception": partial(xception, "xception"),
    "xception.keras": partial(xception, "xception.keras"),
    "hadamard_inception": hadamard_inception,
    "alexnet": alexnet,
    "vgg16": vgg16,
}


def refuse_imitation(net: Net) -> None:
    """Raises InceptiveError, with the first difference, if `net` is not the one of NETS of its name.

    Auxiliary heads may stand anywhere, and `source` and `image_size` only describe. A net that
    departs from the one it was made from has a name of its own.
    """
    if net.name not in NETS:
        return
    ours = NETS[net.name](net.num_classes, channels=net.channels)
    if difference := first_difference(net.body, ours.body, "body"):
        raise InceptiveError(
            f"this net is called {net.name} and is another ({difference}); give it a name of its own: "
            'dataclasses.replace(net, name="mine")'
        )


def find(name: str) -> Callable[..., Net]:
    """The maker of the net called `name`. Raises InceptiveError, naming those there are."""
    if name not in NETS:
        raise InceptiveError(f"no net is called {name!r}; there are: {', '.join(NETS)}")
    return NETS[name]
