"""Opens submissions ahead of their check: while one is checked, another process unpacks the predictions of the next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from kdbench.leaderboard.entry import BoardEntry, load

_AHEAD = 3
"""How many are open at most: each holds its logits."""


def opened_ahead(folders: Sequence[Path]) -> Iterator[tuple[Path, Callable[[], BoardEntry]]]:
    """Each submission, with what gives it as it was read, or raises what `load` raised.

    Args:
        folders: Where they lie; they come in this order.
    """
    waiting = iter(folders)
    with ThreadPoolExecutor(1) as pool:
        ahead = deque((folder, pool.submit(_opened, folder)) for folder in islice(waiting, _AHEAD))
        while ahead:
            folder, entry = ahead.popleft()
            yield folder, entry.result
            ahead.extend((later, pool.submit(_opened, later)) for later in islice(waiting, 1))


def _opened(folder: Path) -> BoardEntry:
    entry = load(folder)
    entry.unpack()
    return entry
