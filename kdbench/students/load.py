"""Loading a student from its export."""

from __future__ import annotations

from pathlib import Path

from kdbench.errors import DataError, UsageError
from kdbench.students.folder import folder_of, read_export
from kdbench.students.programs import open_program
from kdbench.students.schema import VideoInput
from kdbench.students.student import Student


def load_student(path: str | Path, *, threads: int = 1, int8: bool = False) -> Student:
    """Loads an exported student; needs neither its data set nor what trained it.

    Every file is compared with its hash. An ONNX export needs onnxruntime, one for torch needs torch and safetensors.

    Args:
        path: The folder of the export.
        threads: On which the network computes.
        int8: Take the network in 8 bits, which `kdbench export --int8` makes.

    Raises:
        UsageError: There is no export, or a package is missing; the message says which.
        DataError: The export is truncated, changed, or of another version.

    Example:
        ```python
        import kdbench
        student = kdbench.load_student("exports/student")
        print(student.classes)
        said = student.predict("recording.mat")
        print(said.label, said.confidence)
        ```
    """
    if threads < 1:
        raise UsageError(f"threads = {threads}: expected at least 1", hint="Leave it out for 1.")
    folder = folder_of(Path(path))
    export = read_export(folder)
    for entry in export.inputs:
        _check_kind(entry)
    return Student(folder, export, open_program(folder, export, threads=threads, int8=int8))


def _check_kind(entry: object) -> None:
    """Refuses preprocessing with other constants than those that the student was trained with."""
    if not isinstance(entry, VideoInput):
        return
    from kdbench.data.readers.kinds import video_kind

    here = dict(video_kind(entry.kind).parameters)
    if here != entry.parameters:
        raise DataError(
            f"the {entry.source} was prepared with {entry.parameters}, and this kdbench prepares it with {here}",
            hint="Load it with the kdbench that made it (export.json says which).",
        )
