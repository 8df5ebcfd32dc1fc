"""Published systems by the names under which they are sought: where each stands as published, or what comes nearest."""

from __future__ import annotations

import functools
import re
from typing import Any

from kdbench.util import paths

SYSTEMS = "_systems"


@functools.cache
def _listed(kind: str) -> dict[str, dict[str, str]]:
    content: dict[str, Any] = paths.read_mapping(paths.folder("methods") / f"{SYSTEMS}.yaml", "list of systems")
    return dict(content[kind])


def published_line(name: str) -> str:
    """Which published system a name has a part of, and under which name that stands; empty for other names.

    Args:
        name: Of a method or a teacher.
    """
    known = _listed("built").get(name)
    return "" if known is None else f"{known['system']}; as published: kdbench describe {known['published']}"


def absent_line(name: str) -> str:
    """What comes nearest to a published system that is not built; empty for other names.

    Args:
        name: As somebody wrote it: `MST-Distill`.
    """
    known = _listed("absent").get(re.sub(r"[\W_]+", "_", name[:60].lower()).strip("_"))
    return "" if known is None else f"{known['system']} is not built; the nearest is {known['nearest']}."
