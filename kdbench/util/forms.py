"""What a file is that is not what was expected, by its first bytes: what people have in its place."""

from __future__ import annotations

_BEGINNINGS = (
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file: fetch it with git lfs pull"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive: unpack it"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x93NUMPY", "an array of numpy (.npy)"),
    (b"Octave-1-", "in Octave's binary format: save it with -v7"),
    (b"# Created by Octave", "in Octave's text format: save it with -v7"),
)


def form_of(head: bytes) -> str | None:
    """What the beginning of a file says that it is, as the end of "it is …"; None where it says nothing.

    Args:
        head: The first bytes of the file, some hundred.
    """
    if not head:
        return "empty"
    for beginning, form in _BEGINNINGS:
        if head.startswith(beginning):
            return form
    if head.lstrip()[:1] == b"<":
        return "a web page"
    return None
