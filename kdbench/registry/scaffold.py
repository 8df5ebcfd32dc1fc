"""Writes the start of a plugin: a packaged, tested part, method or data set that works as it is.

The templates are a working package each, `templates/KIND/`, with `part_name` for the name; `common/` holds what all
kinds share.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from kdbench.errors import UsageError, unknown
from kdbench.registry import KINDS, registry
from kdbench.registry.origin import label
from kdbench.util.files import whole

TEMPLATES = Path(__file__).parent / "templates"
TARGETS = {
    "loss": "kdbench_part_name.loss:part_name",
    "encoder": "kdbench_part_name.encoder:PartName",
    "pooling": "kdbench_part_name.pooling:PartName",
    "fusion": "kdbench_part_name.fusion:PartName",
    "representation": "kdbench_part_name.representation:PartName",
    "launcher": "kdbench_part_name.launcher:PartName",
    "dataset": "kdbench_part_name.reader:PartName",
    "method": "kdbench_part_name",
}
"""What the entry point of each kind leads to."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def write(kind: str, name: str, out: Path | None = None) -> list[Path]:
    """Writes the package of a new part.

    Args:
        kind: A key of `TARGETS`.
        name: The name in recipes, a Python identifier in lower case.
        out: The folder to write into, made where it is not there; `./NAME` by default.

    Returns:
        The files, sorted.

    Raises:
        UsageError: Another kind, a name that is taken or that Python cannot use, or a folder that is not empty.
        RunFailed: The folder cannot be written.
    """
    if kind not in TARGETS:
        raise unknown("kind of part to start", kind, TARGETS, hint="For example: kdbench new loss my_loss")
    _check_name(kind, name)
    folder = out or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder", hint="Choose another: --out FOLDER")
    texts = {
        _filled(str(path.relative_to(root)), kind, name): _filled(path.read_text(encoding="utf-8"), kind, name)
        for root in (TEMPLATES / "common", TEMPLATES / kind)
        for path in root.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    for path, text in texts.items():
        with whole(folder / path.removesuffix(".template"), durable=False, elsewhere="--out FOLDER") as file:
            file.write(text.encode())
    return sorted(folder / path.removesuffix(".template") for path in texts)


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        better = "_".join(re.findall(r"[a-z0-9]+", words)).lstrip("0123456789_")
        better = better if better and not keyword.iskeyword(better) else f"my_{kind}"
        raise UsageError(
            f"'{name}' cannot be a name, expected a Python identifier in lower case",
            hint=f"For example: kdbench new {kind} {better}",
        )
    registry(kind).demand_free(name, "Choose another name.")


def _filled(text: str, kind: str, name: str) -> str:
    """A template's text with the words that stand for the part's own."""
    words = {
        "part_target": TARGETS[kind],
        "part_group": KINDS[kind],
        "part_label": label(kind),
        "part-name": name.replace("_", "-"),
        "PartName": "".join(word.capitalize() for word in name.split("_")),
        "part_name": name,
    }
    for word, own in words.items():
        text = text.replace(word, own)
    return text
