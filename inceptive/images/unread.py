"""Descriptions of files that no reader accepts: an unsupported format, or no image at all."""

from inceptive.images.tiff import is_plain, kind_of, read_tags

SAVE = "which is not read; save it as JPEG or PNG"
NOT = "not an image"
RAW, VIDEO, ARCHIVE = (
    f"a camera's raw file, {SAVE}",
    f"a video, {NOT}",
    f"an archive, {NOT}; unpack it",
)

# fmt: off
KINDS = (
    (0, b"\xff\x0a", f"a JPEG XL image, {SAVE}"), (4, b"JXL ", f"a JPEG XL image, {SAVE}"),
    (0, b"8BPS", f"a Photoshop document, {SAVE}"), (0, b"gimp xcf", f"a GIMP document, {SAVE}"),
    (0, b"II\xbc", f"a JPEG XR image, {SAVE}"), (0, b"BPG\xfb", f"a BPG image, {SAVE}"),
    (0, b"qoif", f"a QOI image, {SAVE}"), (0, b"\x0a\x05\x01\x08", f"a PCX image, {SAVE}"),
    (0, b"DDS ", f"a DDS texture, {SAVE}"), (0, b"\xabKTX", f"a KTX texture, {SAVE}"),
    (0, b"icns", f"an icon of macOS, {SAVE}"),
    (0, b"v/1\1", f"an OpenEXR image, {SAVE}"), (0, b"#?RA", f"a Radiance HDR image, {SAVE}"),
    (0, b"#?RG", f"a Radiance HDR image, {SAVE}"), (0, b"SIMPLE  =", f"a FITS image, {SAVE}"),
    (128, b"DICM", f"a DICOM image, {SAVE}"), (344, b"n+1\0", f"a NIfTI volume, {SAVE}"),
    (0, b"AT&TFORM", f"a DjVu document, {SAVE}"), (0, b"%PDF", f"a PDF document, {SAVE}"),
    (0, b"%!PS", f"a PostScript drawing, {SAVE}"), (0, b"\xc5\xd0\xd3\xc6", f"an EPS drawing, {SAVE}"),
    (0, b"\xd7\xcd\xc6\x9a", f"a WMF drawing, {SAVE}"), (40, b" EMF", f"an EMF drawing, {SAVE}"),
    (8, b"CR\2", RAW), (4, b"ftypcrx ", RAW), (0, b"FUJIFILMCCD-RAW", RAW), (0, b"IIRO", RAW),
    (0, b"IIRS", RAW), (0, b"MMOR", RAW), (0, b"IIU\0", RAW), (0, b"FOVb", RAW), (0, b"\0MRM", RAW),
    (0, b"\x1aE\xdf\xa3", VIDEO), (8, b"AVI ", VIDEO), (0, b"\0\0\1\xba", VIDEO),
    (0, b"\0\0\1\xb3", VIDEO), (0, b"FLV\1", VIDEO), (0, b"0&\xb2u\x8ef\xcf\x11", VIDEO),
    (8, b"WAVE", f"a sound, {NOT}"), (0, b"ID3", f"a sound, {NOT}"), (0, b"OggS", f"a sound, {NOT}"),
    (0, b"fLaC", f"a sound, {NOT}"),
    (0, b"PK\3\4", f"a ZIP archive (or an office document), {NOT}; unpack it"),
    (0, b"\x1f\x8b", ARCHIVE), (0, b"BZh", ARCHIVE), (0, b"\xfd7zXZ\0", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE), (0, b"Rar!\x1a", ARCHIVE), (0, b"\x28\xb5\x2f\xfd", ARCHIVE),
    (257, b"ustar", ARCHIVE),
    (0, b"\x93NUMPY", f"a NumPy array, {NOT}"), (0, b"\x89HDF", f"an HDF5 file, {NOT}"),
    (0, b"MATLAB ", f"a MATLAB file, {NOT}"), (0, b"PAR1", f"a Parquet table, {NOT}"),
    (0, b"SQLite format", f"a database, {NOT}"), (0, b"\xd0\xcf\x11\xe0", f"an office document, {NOT}"),
    (0, b"\0\5\x16\7", f"what macOS keeps beside a file, {NOT}"),
    (0, b"version https://git-lfs", f"a Git LFS pointer, {NOT}; fetch the file itself (git lfs pull)"),
    (0, b"HTTP/", f"a web server's answer, {NOT}; save what follows its header"),
    (0, b"data:image/", f"a data URI, {NOT}; decode its base64"),
    (0, b"/9j/", f"a JPEG in base64, {NOT}; decode it"),
    (0, b"iVBORw0KGgo", f"a PNG in base64, {NOT}; decode it"),
)
# fmt: on
"""Where a mark stands in a file, the mark, and what such a file is."""


def what(data: bytes) -> str:
    """What the file `data`, which no reader accepts, seems to be: the end of a sentence about it."""
    if (tags := read_tags(data)) and not is_plain(tags):
        return kind_of(tags)
    if data.startswith(b"MM\0+"):
        return "is a big-endian BigTIFF, a kind that is not read; save it as a plain TIFF"
    if not data.strip(b"\0"):
        return f"is {NOT} (nothing but zero bytes)"
    for at, mark, kind in KINDS:
        if data.startswith(mark, at):
            return f"is {kind}"
    if data[4:8] == b"ftyp":
        return f"is {VIDEO}, or a picture of a kind that is not read"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"<":
        if b"<svg" in start.lower():
            return f"is an SVG drawing, {SAVE}"
        return f"is {NOT} (it holds HTML or XML text)"
    if start.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return f"is {NOT} (it holds text)"
    return f"is {NOT} in a known format, or its header is damaged"
