"""What a method gains over its student alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError
from kdbench.results.files import read_json


def gain_over_student_only(root: Path, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy and macro F1 above those of `student_only` under the same conditions at the same seed.

    Returns:
        None where that run is not among the finished ones in `root`.
    """
    if result["method"] == "student_only":
        return None
    for path in sorted(root.glob(f"student_only-*-s{result['seed']}-*/run.json")):
        try:
            other = read_json(path)
        except KdbenchError:
            continue
        if other["status"] == "finished" and other["conditions"] == result["conditions"]:
            return {
                "run": path.parent.name,
                **{key: result["metrics"][key] - other["metrics"][key] for key in ("accuracy", "macro_f1")},
            }
    return None
