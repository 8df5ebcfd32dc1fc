"""Names that become parts of files and folders: on every file system one file each, in the folder that is meant."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

from kdbench.errors import DataError, shortened
from kdbench.text.wording import counted

LONGEST = 120
_FORBIDDEN = '/\\:*?"<>|'
_RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")
_FORMAT = re.compile(r"(0?[0-9]{1,2})?d?")


def fault_of(name: str) -> str:
    """Why a name cannot be that of a file; empty where it can."""
    if not name or len(name.encode("utf-8", "replace")) > LONGEST:
        return f"has {counted(len(name), 'character')}, expected 1 to {LONGEST}"
    if bad := next((character for character in name if character in _FORBIDDEN or not character.isprintable()), ""):
        return f"holds {bad!r}, which no file name may hold"
    if name[0] in ". " or name[-1] in ". ":
        return "begins or ends with a dot or a space"
    return "is a name that Windows keeps for a device" if _RESERVED.fullmatch(name) else ""


def word(name: str, what: str) -> str:
    """Checks the name of a sensor, view or column.

    Raises:
        ValueError: It has other characters than letters, digits, `_` and `-`, or more than 60.
    """
    if not _WORD.fullmatch(name) or _RESERVED.fullmatch(name):
        raise ValueError(f"the {what} '{shortened(name)}' must be made of letters, digits, _ and - (60 at most)")
    return name


def check_ids(ids: Iterable[str], dataset: str) -> None:
    """Checks the ids of trials, which name files in the cache.

    Raises:
        DataError: One cannot name a file, or two are one where upper and lower case are.
    """
    seen: dict[str, str] = {}
    for trial in ids:
        if why := fault_of(trial):
            raise DataError(
                f"the trial id '{shortened(trial)}' of '{dataset}' {why}", hint="Mend the card or its reader."
            )
        same = unicodedata.normalize("NFC", trial).casefold()
        if same in seen:
            raise DataError(
                f"the trials '{shortened(seen[same])}' and '{shortened(trial)}' of '{dataset}' have one name where "
                "upper and lower case are one",
                hint="Mend the card or its reader.",
            )
        seen[same] = trial


def fields_of(template: str, known: Iterable[str]) -> list[str]:
    """The `{fields}` of a template, each a name with at most a width, such as `{subject:02d}`.

    Raises:
        ValueError: It is no template, or has a field that is not known or is more than a name and a width.
    """
    names = list(known)
    fields = []
    for _, name, form, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if name not in names:
            raise ValueError(
                f"uses {{{shortened(name)}}}, expected {', '.join(f'{{{field}}}' for field in names)} alone"
            )
        if conversion or not _FORMAT.fullmatch(form or ""):
            raise ValueError(f"{{{name}}} takes at most a width, such as {{{name}:02d}}")
        fields.append(name)
    return fields


def inside(path: str) -> str:
    """Checks the path of a file below a folder.

    Raises:
        ValueError: It is absolute, or leads out of the folder.
    """
    if not path or len(path) > 400 or not path.isprintable():
        raise ValueError("is not a path: it is empty, too long, or holds a control character")
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive or ".." in re.split(r"[/\\]", path):
        raise ValueError("leads out of the data set's folder: expected a path below it, without ..")
    return path
