"""FID and its kin beside pytorch-fid, torch-fidelity, clean-fid and prdc, on the same pictures.

pytorch-fid's own net draws the weights, running statistics too, and saves them as it would load them.
"""

import contextlib
import io
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from weights.test_peers import draw, fid, torchvision

import inceptive
from inceptive.fidelity.features import extract, open_net
from inceptive.fidelity.frechet import Statistics, frechet_distance
from inceptive.fidelity.kernel import kernel_distance
from inceptive.fidelity.pictures import open_pictures
from inceptive.fidelity.prdc import prdc
from inceptive.fidelity.score import inception_score

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # the peers' calls of older SciPy, Pillow and torchvision
]
FEATURES, FID, KID = 1e-5, 1e-4, 1e-6
"""Largest relative differences; KID's is the Inception Score's too."""
COUNT = 8
"""Pictures on each side."""
SIDES = "real", "made"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of exactly the format that pytorch-fid loads."""
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    with torch.device("meta"):
        net = fid()()
    torch.save(draw(net.to_empty(device="cpu")).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Smooth colours under noise: real pictures, to be enlarged, and made ones, to be made smaller."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, size in zip(SIDES, ((64, 80), (400, 360)), strict=True):
        (root / name).mkdir()
        for k in range(COUNT):
            coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
            pixels = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float64)
            noisy = (pixels + random.normal(0, 8 + 4 * k, pixels.shape)).clip(0, 255)
            suffix = ("png", "jpg")[k % 2]
            Image.fromarray(noisy.astype(np.uint8)).save(root / name / f"{k:02}.{suffix}")
    return root / "real", root / "made"


@pytest.fixture(scope="module")
def ours(weights, folders):
    """Our features of both folders, by the name of a resizing, with the net."""

    def features(resize, dims=2048, runner="auto"):
        key = resize, dims, runner
        if key not in made:
            net = open_net(weights, dims, resize, runner)
            sets = [extract(net, open_pictures(each), lambda *_: None) for each in folders]
            made[key] = net, [each.values for each in sets]
        return made[key]

    made = {}
    return features


def agree(ours, theirs):
    """Features are the same to FEATURES of the largest, and not all alike."""
    assert ours.shape == theirs.shape and theirs.std(axis=0).max() > 1e-2 * np.abs(theirs).max()
    assert np.abs(ours - theirs).max() <= FEATURES * np.abs(theirs).max()


@pytest.fixture(scope="module")
def pytorch_fid(weights):
    torchvision("torchvision")
    inception = pytest.importorskip("pytorch_fid.inception")
    state = torch.load(weights, weights_only=True)
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: state):
        yield pytest.importorskip("pytorch_fid.fid_score")


@pytest.mark.parametrize("runner", ["torch", "openvino"])
@pytest.mark.parametrize("dims", [64, 192, 768, 2048])
def test_features_of_each_layer_are_pytorch_fids(pytorch_fid, folders, ours, dims, runner):
    block = pytorch_fid.InceptionV3.BLOCK_INDEX_BY_DIM[dims]
    model = pytorch_fid.InceptionV3([block])
    for folder, features in zip(folders, ours("pytorch", dims, runner)[1], strict=True):
        files = sorted(folder.iterdir())
        agree(features, pytorch_fid.get_activations(files, model, 4, dims, "cpu", 0))


@pytest.mark.parametrize("dims", [192, pytest.param(2048, marks=pytest.mark.slow)])
def test_fid_is_pytorch_fids(pytorch_fid, folders, weights, dims):
    """Its square root of a matrix of 2048 takes half a minute."""
    theirs = pytorch_fid.calculate_fid_given_paths(list(map(str, folders)), 4, "cpu", dims, 0)
    ours = inceptive.fid(*folders, weights=weights, dims=dims).fid
    assert ours == pytest.approx(theirs, rel=FID)


def test_statistics_go_to_pytorch_fid_and_back(pytorch_fid, folders, weights, tmp_path):
    ours, theirs = tmp_path / "ours.npz", tmp_path / "theirs.npz"
    made = inceptive.fid(*folders, weights=weights, stats=ours, dims=192).fid
    pytorch_fid.save_fid_stats([str(folders[0]), str(theirs)], 4, "cpu", 192, 0)
    named = inceptive.fid(theirs, folders[1], weights=weights, dims=192).fid
    assert named == pytest.approx(made, rel=FID)
    paths = [str(ours), str(folders[1])]
    read = pytorch_fid.calculate_fid_given_paths(paths, 4, "cpu", 192, 0)
    assert read == pytest.approx(made, rel=FID)


def calculated(folders, weights, **options):
    """What torch-fidelity says of both folders: generated pictures are its first input."""
    torchvision("torchvision")
    module = pytest.importorskip("torch_fidelity")
    with contextlib.redirect_stderr(io.StringIO()):
        return module.calculate_metrics(
            input1=str(folders[1]), input2=str(folders[0]), cuda=False, cache=False, verbose=False,
            feature_extractor="inception-v3-compat", save_cpu_ram=True, batch_size=4,
            feature_extractor_weights_path=str(weights), **options,
        )  # fmt: skip


def test_features_are_torch_fidelitys(folders, weights, ours):
    torchvision("torchvision")
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    names = ["2048", "logits_unbiased"]
    extractor = FeatureExtractorInceptionV3("name", names, str(weights))
    net, sets = ours("tensorflow")
    for folder, features in zip(folders, sets, strict=True):
        loaded = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]
        with torch.inference_mode():
            theirs = extractor(torch.from_numpy(np.stack(loaded)).permute(0, 3, 1, 2))
        agree(features, theirs[0].numpy())
        agree(net.logits(features), theirs[1].numpy())


def test_every_metric_is_torch_fidelitys(folders, weights, monkeypatch):
    torchvision("torchvision")
    pytest.importorskip("torch_fidelity")
    from torch_fidelity import metric_kid

    # Cubes of features in single precision, which differ by 5e-5 of the result from one processor to
    # another: its own formula in double.
    mmd = metric_kid.kernel_mmd
    monkeypatch.setattr(
        metric_kid, "kernel_mmd", lambda a, b, **how: mmd(a.astype(float), b.astype(float), **how)
    )
    theirs = calculated(
        folders, weights, fid=True, kid=True, isc=True, prc=True, kid_subset_size=5, isc_splits=3,
        prc_neighborhood=2,
    )  # fmt: skip
    fidelity = inceptive.fid(
        *folders, ("fid", "kid", "is", "prdc"), weights=weights, resize="tensorflow", splits=3,
        kid_subset_size=5, neighbours=2,
    )  # fmt: skip
    assert fidelity.fid == pytest.approx(theirs["frechet_inception_distance"], rel=FID)
    for name, key in (("kid", "kernel_inception_distance"), ("inception_score", "inception_score")):
        assert getattr(fidelity, name) == pytest.approx(theirs[f"{key}_mean"], rel=1e-5), name
        assert getattr(fidelity, f"{name}_std") == pytest.approx(theirs[f"{key}_std"], rel=1e-3)
    assert fidelity.precision == pytest.approx(theirs["precision"])
    assert fidelity.recall == pytest.approx(theirs["recall"])


def made(count, shift):
    """Features (count, 64) of double precision: what is compared is the formula."""
    return np.random.default_rng(round(100 * shift)).normal(shift, 1, (count, 64)).clip(0)


@pytest.mark.parametrize("seed", [2020, 5])
def test_of_the_same_features_kid_and_score_are_torch_fidelitys(seed):
    torchvision("torchvision")
    pytest.importorskip("torch_fidelity")
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, generated = made(400, 0.5), made(300, 0.6)
    options = {"kid_subsets": 20, "kid_subset_size": 100, "rng_seed": seed, "verbose": False}
    theirs = kid_features_to_metric(*map(torch.from_numpy, (generated, real)), **options)
    ours = kernel_distance(real, generated, 20, 100, seed)
    assert ours == pytest.approx(tuple(theirs.values()), rel=KID)
    theirs = isc_features_to_metric(torch.from_numpy(generated), 10, True, seed)
    assert inception_score(generated, 10, seed) == pytest.approx(tuple(theirs.values()), rel=KID)


def test_prdc_is_that_of_its_authors():
    module = pytest.importorskip("prdc.prdc")
    real, generated = made(400, 0.5), made(300, 0.55)
    with mock.patch.object(module, "print", create=True):
        theirs = module.compute_prdc(real, generated, 5)
    assert prdc(real, generated, 5)._asdict() == pytest.approx(theirs, rel=1e-12)
    assert 0 < theirs["precision"] < 1 and 0 < theirs["coverage"] < 1


def clean(mode, pytorch_fid):
    """clean-fid's way to a folder's features, with pytorch-fid's net in place of what it downloads.

    Its TorchScript net reads (x - 128) / 128, its net for the mode legacy_pytorch x / 127.5 - 1.
    """
    torchvision("torchvision")
    folder_features = pytest.importorskip("cleanfid.fid").get_folder_features
    model = pytorch_fid.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    half = 127.5 if mode == "legacy_pytorch" else 128

    def run(images):
        return model((images - half) / half)[0][..., 0, 0]

    return lambda folder: folder_features(
        str(folder), run, num_workers=0, batch_size=4, device="cpu", mode=mode, verbose=False
    )


@pytest.mark.parametrize(("mode", "resize"), [("clean", "clean"), ("legacy_pytorch", "pytorch")])
def test_features_and_fid_are_clean_fids(pytorch_fid, folders, ours, mode, resize):
    """FID of some of the features: its square root, too, takes long of all."""
    theirs = list(map(clean(mode, pytorch_fid), folders))
    for mine, features in zip(ours(resize)[1], theirs, strict=True):
        agree(mine, features)
    distance = pytest.importorskip("cleanfid.fid").fid_from_feats(
        *(each[:, :99] for each in theirs)
    )
    statistics = [Statistics.of(each[:, :99]) for each in ours(resize)[1]]
    assert frechet_distance(*statistics) == pytest.approx(distance, rel=FID)


def test_kid_is_clean_fids_of_all_pictures():
    """In double precision: of its float32 it is the same to 1e-4, which its kernel's sums lose."""
    torchvision("torchvision")
    distance = pytest.importorskip("cleanfid.fid").kernel_distance
    real, generated = made(90, 0.5), made(90, 0.6)
    theirs = distance(real, generated, num_subsets=1)
    assert kernel_distance(real, generated, 1, 90, 0).mean == pytest.approx(theirs, rel=KID)


def test_the_resizings_differ(ours):
    """Or the tests above would show nothing."""
    features = [ours(resize)[1][1] for resize in ("pytorch", "tensorflow", "clean")]
    for k in range(3):
        difference = np.abs(features[k] - features[k - 1]).max()
        assert difference > 100 * FEATURES * np.abs(features[k]).max()
