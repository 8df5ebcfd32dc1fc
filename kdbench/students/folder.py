"""An export's folder: what must be in it, and whether it is what was written."""

from __future__ import annotations

from pathlib import Path

from kdbench.errors import DataError, UsageError
from kdbench.students.schema import RECORD, SCHEMA_VERSION, Export
from kdbench.util.records import is_sealed, read_json, unlike
from kdbench.util.validation import checked

AGAIN = "Copy the whole folder again, or export the run again: kdbench export RUN"


def read_export(folder: Path) -> Export:
    """Reads an `export.json` and compares every file of the export with its hash.

    Args:
        folder: The export, or its `export.json`.

    Raises:
        UsageError: There is no export.
        DataError: It is of another version, truncated, or a file is not what was written.
    """
    folder = folder_of(folder)
    try:
        content = read_json(folder / RECORD)
    except DataError as error:
        # What a run would make again, an export does not.
        raise DataError(error.message, hint=AGAIN) from error
    if not isinstance(content, dict):
        raise DataError(f"{folder / RECORD} holds {type(content).__name__}, expected an object", hint=AGAIN)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{folder / RECORD} has schema version {str(version)[:40]}, and this kdbench reads {SCHEMA_VERSION}",
            hint="Load it with the kdbench that made it, or export the run again.",
        )
    if not is_sealed(content):
        raise DataError(f"{folder / RECORD} is not what was written, by its sha256", hint=AGAIN)
    export = checked(Export, content, f"{folder / RECORD}", error=DataError, hint=AGAIN)
    if faults := unlike(folder, export.files):
        raise DataError(f"the export is not whole: {'; '.join(faults)}", hint=AGAIN)
    return export


def folder_of(path: Path) -> Path:
    """The folder of an export that is named by itself or by its `export.json`.

    Raises:
        UsageError: There is none.
    """
    path = Path(path).expanduser()
    folder = path.parent if path.name == RECORD else path
    if not (folder / RECORD).is_file():
        what = "is not there" if not path.exists() else f"is no export: it holds no {RECORD}"
        raise UsageError(f"{path} {what}", hint="Make one: kdbench export RUN")
    return folder
