"""What a page shows that a command prints, beside what it prints."""

from __future__ import annotations

import re

LEFT_OUT = "…"


def without_numbers(line: str) -> str:
    """A line in which nothing depends on the machine: its numbers, and the width that they give a column."""
    return " ".join(re.sub(r"[-+]?\d+(\.\d+)?", "#", re.sub(r"[━─]+", "─", line)).split())


def holds(printed: list[str], shown: list[str]) -> bool:
    """Whether the lines shown were printed in this order, one after the other but for what is left out."""
    place, gap = 0, False
    for line in map(without_numbers, shown):
        if line == LEFT_OUT:
            gap = True
            continue
        found = next((at for at in range(place, len(printed)) if without_numbers(printed[at]) == line), None)
        if found is None or (found != place and not gap):
            return False
        place, gap = found + 1, False
    return gap or place == len(printed)
