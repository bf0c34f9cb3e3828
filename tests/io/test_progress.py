"""What a caller is told of work that takes long."""

from inceptive.io import progress
from inceptive.io.progress import Lines


def test_lines_go_to_standard_error_and_work_has_one_every_ten_seconds(capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = Lines()
    lines.say("12 images\x1b[2J")
    for now in (1.0, 9.9, 10.0, 12.0, 21.0, 40.0):
        lines.advance("reading images", int(now), 40, "loss 0.5")
    assert capsys.readouterr() == (
        "",
        "12 images\\x1b[2J\n"
        "reading images: 10 of 40  loss 0.5\nreading images: 21 of 40  loss 0.5\n",
    )
