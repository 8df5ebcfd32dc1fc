"""What a method gains over its student alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.results.store import FINISHED, stored_run

ALONE = {"video": "student_only", "sensors": "student_only_sensor"}
"""The student without a teacher, by what it sees."""

PLAIN = {"ce": {"weight": 1.0}}
"""Its losses."""


def alone_for(result: Mapping[str, Any]) -> str:
    """The method that trains the student of a result without a teacher."""
    return ALONE["video" if result["conditions"]["view"] is not None else "sensors"]


def gain_over_student_only(root: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy and macro F1 above those of the student alone under the same conditions at the same seed.

    The student alone learns by plain cross-entropy; a run whose losses were changed does not stand for it.

    Returns:
        None where that run is not among the finished ones in `root`.
    """
    alone = alone_for(result)
    if result["method"] == alone:
        return None
    for path in sorted(root.glob(f"{alone}-*-s{result['seed']}-*/run.json")):
        try:
            other = stored_run(path.parent).result
        except KdbenchError:
            continue
        if (
            other["status"] == FINISHED
            and other["conditions"] == result["conditions"]
            and other["recipe"]["student"]["losses"] == PLAIN
        ):
            return {
                "run": path.parent.name,
                **{key: result["metrics"][key] - other["metrics"][key] for key in ("accuracy", "macro_f1")},
            }
    return None
