"""The magic bytes that identify files."""

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"  # torch.save since 1.6, or a zip of one file
PICKLE = b"\x80"  # torch.save before 1.6
GZIP = b"\x1f\x8b"
TABLE_END = bytes.fromhex("57fb808b247547db")  # LevelDB's, so TensorFlow's; a file's last bytes


def is_safetensors(start: bytes) -> bool:
    """Whether a file starts with the size of a header, below 4 GB, in 8 bytes, and its brace."""
    return start[4:9] == b"\0\0\0\0{"
