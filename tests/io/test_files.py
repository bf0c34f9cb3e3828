"""Files that appear whole or not at all, and checkpoints that may be damaged."""

import contextlib
import errno
import json
import os
import pickle
import stat
import threading
import zipfile

import filelock
import pytest
import torch

from inceptive.errors import InceptiveError
from inceptive.io import atomic
from inceptive.io.atomic import write_bytes, write_json, write_text
from inceptive.io.locks import Locked, lock
from inceptive.training import checkpoint

STATE = {
    "epoch": 3,
    "recipe": {"net": "googlenet.bn", "data": {"mean": [0.5]}},
    "data": {"classes": ["a", "b"], "counts": {"train": 2}},
    "model": {"conv.weight": torch.arange(12.0).view(3, 4), "bn.steps": torch.tensor(7)},
    "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
    "average": None,
    "run": {"history": [{"loss": 1.25}], "best": float("inf")},
    "net": {"type": "Net"},
}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def refused(action, *given):
    """The one line with which something is refused."""
    with pytest.raises(InceptiveError) as caught:
        action(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


# Whole or not at all


def test_a_file_is_written_with_the_folders_it_needs(tmp_path):
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "Käse\n")
    assert path.read_bytes() == "Käse\n".encode()
    assert names(path.parent) == ["text.txt"]


def test_a_file_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "text.txt"
    write_text(path, "a long old text")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["text.txt"]


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / "text.txt"
    path.write_text("old")
    seen = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (seen.append(path.read_text()), sync(file)))
    write_bytes(path, b"whole")
    assert path.read_text() == "whole"
    assert seen == ["old", "whole"]  # the file's content first, then the folder's new entry


def refusing(call, code, only):
    """os.`call`, which fails with `code` for whatever `only` says of its argument."""
    original = getattr(os, call)

    def refuse(target, *more):
        if only(target):
            raise OSError(code, os.strerror(code))
        return original(target, *more)

    return refuse


def is_folder(descriptor):
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


@pytest.mark.parametrize(
    ("call", "code", "only"),
    [
        *(("fsync", code, is_folder) for code in (errno.EINVAL, errno.ENOTSUP, errno.EBADF)),
        *(("open", code, os.path.isdir) for code in (errno.EACCES, errno.EPERM, errno.EISDIR)),
        *(("fsync", code, lambda _: True) for code in (errno.EINVAL, errno.ENOSYS)),
    ],
)  # fmt: skip
def test_a_share_that_cannot_sync_is_written_to(call, code, only, tmp_path, monkeypatch):
    monkeypatch.setattr(os, call, refusing(call, code, only))
    write_text(tmp_path / "text.txt", "new")
    assert (tmp_path / "text.txt").read_text() == "new" and names(tmp_path) == ["text.txt"]


@pytest.mark.parametrize("only", [is_folder, lambda _: True], ids=["folder", "file"])
def test_a_failing_disk_is_told_whatever_it_fails_to_sync(only, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing("fsync", errno.EIO, only))
    assert "cannot be written" in refused(write_text, tmp_path / "text.txt", "new")


@pytest.mark.parametrize("name", ["n" * 255, "é" * 127, "n" * 190 + ".csv"], ids=len)
def test_a_name_as_long_as_the_system_allows_is_written(name, tmp_path):
    write_text(tmp_path / name, "old")
    dead = tmp_path / f".{atomic._stem(tmp_path / name)}.0123abcd.part"
    dead.write_text("left by a writer that was killed")
    write_text(tmp_path / name, "new")
    assert names(tmp_path) == [name] and (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError(28, "No space left on device"), InceptiveError),
        (ValueError("not from the disk"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["OSError", "ValueError", "KeyboardInterrupt"],
)
def test_a_disk_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path, monkeypatch, raised, expected
):
    path = tmp_path / "text.txt"
    path.write_text("old")

    def fail(file):
        raise raised

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected) as caught:
        write_bytes(path, b"half")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["text.txt"]
    if expected is InceptiveError:
        assert str(caught.value) == f"{path}: cannot be written (No space left on device)"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_permission_bits_follow_the_umask(tmp_path, umask, mask, mode):
    umask(mask)

    write_bytes(tmp_path / "private", b"")
    write_text(tmp_path / "text", "")
    for name in ("private", "text"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    assert os.umask(mask) == mask


def test_the_permission_bits_of_the_old_file_stay(tmp_path, umask):
    path = tmp_path / "private.csv"
    path.touch(0o600)
    write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.read_text() == "new"


@pytest.mark.parametrize("before", ["old", None])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, before):
    real, link, again = tmp_path / "disk/real.csv", tmp_path / "link.csv", tmp_path / "again.csv"
    if before:
        write_text(real, before)
    link.symlink_to("disk/real.csv")
    again.symlink_to(link)
    write_text(again, "new")
    assert again.is_symlink() and link.is_symlink() and real.read_text() == "new"
    assert names(real.parent) == ["real.csv"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_text(path, "answers")
    assert os.read(reader, 99) == b"answers" and path.is_fifo() and names(tmp_path) == ["pipe"]
    os.close(reader)


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "text.txt"
    assert refused(write_text, path, "").startswith(f"{path}: cannot be written")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    assert "cannot be written" in refused(write_text, tmp_path / ("n" * 300), "")


def test_a_file_never_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "text.txt").mkdir()
    assert "cannot be written" in refused(write_text, tmp_path / "text.txt", "")
    assert names(tmp_path) == ["text.txt"]


@pytest.mark.parametrize("code", ["EINVAL", "ENOTSUP", "EACCES"])
def test_a_share_that_cannot_sync_a_folder_is_no_error(tmp_path, monkeypatch, code):
    sync = os.fsync

    def refuse(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(getattr(errno, code), "refused")
        sync(file)

    monkeypatch.setattr(os, "fsync", refuse)
    write_text(tmp_path / "text.txt", "new")
    assert (tmp_path / "text.txt").read_text() == "new"


def test_where_an_open_file_cannot_be_renamed_it_is_closed_first(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "WINDOWS", True)
    replace, tries = os.replace, []

    def locked_once(part, path):
        tries.append(part)
        if len(tries) == 1:
            raise PermissionError(13, "the old file is open")
        replace(part, path)

    monkeypatch.setattr(os, "replace", locked_once)
    write_text(tmp_path / "text.txt", "new")
    assert (tmp_path / "text.txt").read_text() == "new" and len(tries) == 2
    assert names(tmp_path) == ["text.txt"]


# Locks


def test_a_lock_is_held_by_one_and_leaves_no_file(tmp_path):
    path = tmp_path / "folder" / ".lock"
    with lock(path):
        with (
            pytest.raises(Locked, match="another process writes there now"),
            lock(path, wait=False),
        ):
            raise AssertionError("two at once")
        assert path.exists()
    assert names(tmp_path / "folder") == []


def test_a_lock_never_lets_two_in_though_its_file_and_folder_come_and_go(tmp_path):
    inside, most = [], []

    def work():
        for _ in range(20):
            with lock(tmp_path / "folder" / ".lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()
            with contextlib.suppress(OSError):
                (tmp_path / "folder").rmdir()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80


@pytest.mark.parametrize("code", ["ENOLCK", "ENOTSUP"])
def test_a_disk_without_locks_gives_none(tmp_path, monkeypatch, code):
    def refuse(*_):
        raise OSError(getattr(errno, code), "no locks")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with lock(tmp_path / ".lock", wait=False):
        pass


# JSON


def test_json_comes_back(tmp_path):
    value = {"names": ["Käse", "猫", 'a "b"\n'], "shares": [0.1, 1e-9], "none": None, "n": 3}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "猫" in text
    assert text.endswith("}\n")


def test_json_is_what_every_reader_takes(tmp_path):
    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    write_json(tmp_path / "value.json", {"precision": float("nan"), "recall": [0.5]})
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"precision": None, "recall": [0.5]}


# Checkpoints


def test_a_checkpoint_comes_back(tmp_path):
    checkpoint.save(tmp_path, STATE)
    found = checkpoint.load(tmp_path)
    assert found.keys() == STATE.keys() | {"format"}
    for key in ("epoch", "recipe", "average", "run", "net"):
        assert found[key] == STATE[key]
    for key, tensor in STATE["model"].items():
        assert torch.equal(found["model"][key], tensor)
    assert found["optimizer"]["param_groups"] == [{"lr": 0.1}]
    assert torch.equal(found["optimizer"]["state"][0]["momentum_buffer"], torch.ones(3))
    assert names(tmp_path) == [checkpoint.CHECKPOINT]


def test_a_checkpoint_takes_the_place_of_the_one_before(tmp_path):
    for epoch in (1, 2):
        checkpoint.save(tmp_path, STATE | {"epoch": epoch})
    assert checkpoint.load(tmp_path)["epoch"] == 2


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, STATE)
    monkeypatch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
    assert "of another version of inceptive" in refused(checkpoint.load, tmp_path)


@pytest.mark.parametrize("folder", [".", "nowhere"])
def test_a_missing_checkpoint_is_said(tmp_path, folder):
    assert "holds no checkpoint" in refused(checkpoint.load, tmp_path / folder)


DAMAGES = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"hello\n" * 40,
    "cut": lambda whole: whole[: len(whole) // 2],
    "last byte lost": lambda whole: whole[:-1],
    "start zeroed": lambda whole: bytes(100) + whole[100:],
    "all zeros": lambda whole: bytes(len(whole)),
    "a pickle cut": lambda whole: pickle.dumps({"epoch": 3})[:-4],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, damage):
    checkpoint.save(tmp_path, STATE)
    path = tmp_path / checkpoint.CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    assert refused(checkpoint.load, tmp_path).startswith(f"{path}: is damaged (")


@pytest.mark.parametrize("state", [[1, 2], {"model": {}}, torch.zeros(3)], ids=str)
def test_another_file_of_torch_is_no_checkpoint(tmp_path, state):
    torch.save(state, tmp_path / checkpoint.CHECKPOINT)
    assert "is not a checkpoint" in refused(checkpoint.load, tmp_path)


@pytest.mark.parametrize("packed", [False, True], ids=["a bare pickle", "inside torch's zip"])
def test_code_in_a_checkpoint_is_never_run(tmp_path, packed):
    trap = tmp_path / "trap"
    code = f"cos\nmkdir\n(V{trap}\ntR.".encode()
    pickle.loads(code)
    assert trap.is_dir(), "the trap itself does not work"
    trap.rmdir()
    path = tmp_path / checkpoint.CHECKPOINT
    if packed:
        checkpoint.save(tmp_path, STATE)
        with zipfile.ZipFile(path) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        with zipfile.ZipFile(path, "w") as other:
            for name, content in parts.items():
                other.writestr(name, code if name.endswith("data.pkl") else content)
    else:
        path.write_bytes(code)
    assert "is damaged" in refused(checkpoint.load, tmp_path)
    assert not trap.exists()


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(tmp_path):
    resource = pytest.importorskip("resource")
    checkpoint.save(tmp_path, STATE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        line = refused(checkpoint.save, tmp_path, {"epoch": 4, "model": torch.zeros(500_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "cannot be written" in line
    assert checkpoint.load(tmp_path)["epoch"] == 3
    assert names(tmp_path) == [checkpoint.CHECKPOINT]
