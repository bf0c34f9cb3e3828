"""Small pictures inside a page: thumbnails as data URLs."""

import base64
import io

from PIL import Image

from inceptive.errors import InceptiveError
from inceptive.images import Range, Source, decode

SIDE = 144


def thumbnail(source: Source, channels: int, sample_range: Range | None = None) -> str:
    """The whole picture in `source`, its longer side at most SIDE pixels, as a data: URL of a JPEG.

    "" if it can no longer be read: a page must not fail because of a picture.
    """
    try:
        image = decode(source, channels, SIDE, sample_range=sample_range)
    except InceptiveError:
        return ""
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
