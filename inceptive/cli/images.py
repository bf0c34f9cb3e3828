"""The images that a command names."""

from collections.abc import Iterator
from pathlib import Path

from inceptive.cli.progress import say
from inceptive.errors import InceptiveError, printable


def find_images(paths: list[str]) -> Iterator[str]:
    """The files among `paths`, and the images in the folders among them; what is not there stays in,
    so that it is answered with an error. Raises InceptiveError for a folder without images."""
    from inceptive.data.layout import list_images
    from inceptive.engines.prediction import is_url

    for each in paths:
        if is_url(each):
            yield each
            continue
        path = Path(each)
        if not path.is_dir():
            yield str(path)
            continue
        images, others, unread = list_images(path)
        for note in unread:
            say(f"note: {note}")
        if others:
            first = printable(others[0])
            say(
                f"note: {len(others)} files are not named as images and are left out, among them {first}"
            )
        if not images:
            raise InceptiveError(f"{printable(path)}: holds no images")
        yield from images
