"""How video files are built: what each container says of the sizes, the order and the checksums of its pieces.

Each module has functions `walk(content) -> int | None`: how long the file is by its own account, where that is longer
than what is there; `SOME_MORE` where it does not say how much longer; None where nothing is known to be missing. They
raise `ValueError` where a file is damaged.

Behind its last piece a file may have bytes that are of no container, as tags of audio players, or padding. It is the
end where no other piece follows; otherwise, pieces are damaged.
"""

from __future__ import annotations

SOME_MORE = -1


def damaged(at: int, reason: str) -> ValueError:
    """An error that tells where a file is damaged.

    Args:
        at: Number of the first byte that cannot be as it is.
        reason: What is wrong there.
    """
    return ValueError(f"it is damaged at its byte {at:,}: {reason}")


def check_nothing_follows(content: bytes, at: int, *marks: bytes) -> None:
    """Lets a file have bytes of another kind behind its last piece.

    Args:
        content: The file.
        at: Where its pieces end.
        marks: What pieces begin with.

    Raises:
        ValueError: Another piece follows.
    """
    if any(content.find(mark, at) >= 0 for mark in marks):
        raise damaged(at, "what lies there is of no kind that may")
