"""What a stream is fed with: a recording in a file, or a camera."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdbench.data.readers.kinds import video_kind
from kdbench.errors import UsageError, unknown
from kdbench.students import fit
from kdbench.students.films import Camera, frames_of_file, rate_of_file
from kdbench.students.incoming import Feed, Played, items_of
from kdbench.students.recordings import check_form, is_camera, read
from kdbench.students.schema import Input, VideoInput
from kdbench.students.series_file import AS_EXPORTED, Columns
from kdbench.students.student import Student, check_rate_hz, check_recorded_rate

ARRAYS = (".npy", ".mat")


def feeds_of(
    student: Student,
    words: list[str],
    *,
    speed: float,
    rate_hz: float | None = None,
    any_rate: bool = False,
    columns: Columns | Mapping[str, Columns] = AS_EXPORTED,
) -> Mapping[str, Feed]:
    """What comes in of each source.

    Args:
        student: Sees them.
        words: A FILE or a camera; of a student that sees several sources, SOURCE=FILE for each.
        speed: How fast files are played: 1 as recorded, 0 as fast as can be. A camera has its own.
        rate_hz: Samples or frames a second, where a file does not say so itself.
        any_rate: Play recordings of another rate too.
        columns: As for `Student.predict`.

    Raises:
        UsageError: A source is missing or unknown, or a camera is none for this student.
        DataError: A recording cannot be read, or has another rate.
    """
    check_rate_hz(rate_hz)
    if len(student.sources) == 1 and len(words) > 1:
        raise UsageError(
            f"this student takes one input; {len(words)} were given",
            hint="Play one after the other: a command for each.",
        )
    named: dict[str, str] = {}
    for word in words:
        source, equals, value = word.partition("=")
        if not equals or source not in student.sources:
            if len(student.sources) == 1:
                source, value = student.sources[0], word
            elif equals:
                raise unknown("source of this student", source, student.sources, hint="Write SOURCE=FILE.")
            else:
                raise UsageError(
                    f"this student sees {' and '.join(student.sources)}, and {word} does not say which of them it is",
                    hint=f"For example: {' '.join(f'--input {source}=FILE' for source in student.sources)}",
                )
        if source in named:
            raise UsageError(f"the {source} is given twice: {named[source]} and {value}", hint="Give it once.")
        named[source] = value
    if missing := [source for source in student.sources if source not in named]:
        raise UsageError(f"nothing comes in of the {' and '.join(missing)}", hint="A student needs all that it sees.")
    entries = {entry.source: entry for entry in student.export.inputs}
    said = student.columns_of(columns)
    return {
        source: _feed(entries[source], value, speed, rate_hz, any_rate=any_rate, columns=said.get(source, AS_EXPORTED))
        for source, value in named.items()
    }


def _feed(entry: Input, value: str, speed: float, rate_hz: float | None, *, any_rate: bool, columns: Columns) -> Feed:
    if is_camera(value):
        if columns != AS_EXPORTED:
            raise UsageError("columns are said of files, and a camera has none", hint="Leave them out.")
        if rate_hz is not None or any_rate:
            raise UsageError(
                "a camera has a rate of its own: --rate and --any-rate have no effect", hint="Leave them out."
            )
        return Camera(value, entry)
    path = Path(value)
    check_form(path, entry)
    is_film = isinstance(entry, VideoInput) and video_kind(entry.kind).is_colour and path.suffix.lower() not in ARRAYS
    if is_film and path.is_file() and columns == AS_EXPORTED:
        assert isinstance(entry, VideoInput)
        if not any_rate:
            fit.check_rate(entry, rate_hz or rate_of_file(path), doing="play")
        return Played(frames_of_file(path, entry), speed)
    recorded = read(path, entry, whole=True, columns=columns)
    check_recorded_rate(entry, recorded, rate_hz, any_rate=any_rate, doing="play")
    rate = entry.rate_hz if recorded.evened else rate_hz or recorded.rate_hz or entry.rate_hz
    return Played(items_of(recorded.array, rate), speed)
