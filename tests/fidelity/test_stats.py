"""Files of statistics: pytorch-fid's are read, ours are read by it, and a wrong one is refused."""

import numpy as np
import pytest

from inceptive.errors import InceptiveError
from inceptive.fidelity.features import Features
from inceptive.fidelity.frechet import Statistics
from inceptive.fidelity.stats import MeasuredSet, is_stats, read_stats, refuse_other, write_stats


def measured(net="net", pictures="pictures"):
    values = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    features = Features(values, ("a.jpg: is empty",))
    return MeasuredSet("name", Statistics.of(values), features, net, pictures)


def test_all_that_is_written_is_read_again(tmp_path):
    path, before = tmp_path / "some.npz", measured()
    write_stats(path, before)
    after = read_stats(path)
    assert is_stats(path)
    assert (after.net, after.pictures, after.statistics.count) == ("net", "pictures", 9)
    assert after.features.unreadable == before.features.unreadable
    np.testing.assert_array_equal(after.features.values, before.features.values)
    np.testing.assert_array_equal(after.statistics.covariance, before.statistics.covariance)
    refuse_other(path, after, "net", "pictures")


def test_mean_and_covariance_are_where_pytorch_fid_looks(tmp_path):
    write_stats(tmp_path / "some.npz", measured())
    with np.load(tmp_path / "some.npz") as file:
        np.testing.assert_array_equal(file["mu"][:], measured().statistics.mean)
        np.testing.assert_array_equal(file["sigma"][:], measured().statistics.covariance)


def test_a_file_of_pytorch_fid_has_a_mean_and_a_covariance_alone(tmp_path):
    path = tmp_path / "peer.npz"
    np.savez_compressed(path, mu=np.zeros(3), sigma=np.eye(3))
    read = read_stats(path)
    assert read.features is None and read.statistics.count is None and is_stats(path)
    with pytest.raises(InceptiveError, match="in place of the real pictures"):
        refuse_other(path, read, "net", "pictures")


def test_one_of_another_net_or_other_pictures_is_refused(tmp_path):
    for net, pictures, why in (("other", "pictures", "weights"), ("net", "other", "changed")):
        with pytest.raises(InceptiveError, match=why):
            refuse_other(tmp_path / "some.npz", measured(), net, pictures)


@pytest.mark.parametrize(
    "arrays",
    [{"mu": np.zeros(3), "sigma": np.eye(2)}, {"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)},
     {"mu": np.zeros(2)}, {"mu": np.zeros(2), "sigma": np.eye(2), "features": np.zeros((2, 3))}],
)  # fmt: skip
def test_what_is_no_statistics_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InceptiveError, match=r"bad\.npz: missing or invalid"):
        read_stats(tmp_path / "bad.npz")


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "some.npz"
    write_stats(path, measured())
    path.write_bytes(path.read_bytes()[:-100])
    assert not is_stats(path)
    with pytest.raises(InceptiveError, match="cannot be read"):
        read_stats(path)
