"""Small pictures: thumbnails as data URLs inside a page, and contact sheets."""

import base64
import contextlib
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from inceptive.errors import InceptiveError
from inceptive.images import Range, Source, decode

SIDE = 144
COLUMNS, GAP, TEXT = 5, 10, 34
"""Of a contact sheet: pictures in a row, pixels between them, and below each for two lines."""


def thumbnail(source: Source, channels: int, sample_range: Range | None = None) -> str:
    """The whole picture in `source`, its longer side at most SIDE pixels, as a data: URL of a JPEG.

    "" if it can no longer be read: a page must not fail because of a picture.
    """
    try:
        image = _small(source, channels, sample_range)
    except InceptiveError:
        return ""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def contact_sheet(rows: Sequence[tuple[str, Source, str]]) -> Image.Image:
    """Lay out pictures, each with its name and a line below it, as an RGB image.

    One that can no longer be read stays blank.
    """
    columns = min(COLUMNS, len(rows))
    size = columns * (SIDE + GAP) + GAP, -(-len(rows) // COLUMNS) * (SIDE + TEXT + GAP) + GAP
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, (name, source, text) in enumerate(rows):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = GAP + number // COLUMNS * (SIDE + TEXT + GAP)
        with contextlib.suppress(InceptiveError):
            image = _small(source, 3, None)
            sheet.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
        short = name
        while font.getlength(short) > SIDE:
            short = f"…{short[2:]}"
        draw.text((left, top + SIDE + 3), short, "black", font)
        draw.text((left, top + SIDE + 18), text, "#555555", font)
    return sheet


def _small(source: Source, channels: int, sample_range: Range | None) -> Image.Image:
    image = decode(source, channels, SIDE, sample_range=sample_range)
    if max(image.size) > SIDE:
        image = image.copy()  # it may be the caller's own
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image
