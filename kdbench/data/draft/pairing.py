"""Which groups of files are of the same recordings, by the words of their names."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from kdbench.data.draft.looking import Looked
from kdbench.data.draft.naming import Group, Words, is_source
from kdbench.data.recorded import ARRAYS, TEXT, VIDEOS
from kdbench.text.wording import counted

_MOST_WORDS = 16
"""Words of a name up to which those that tell its recording are looked for among the words that do not differ."""


@dataclass(frozen=True)
class Stray:
    """Files that look like recordings, and that no recording is known to have.

    Attributes:
        suffix: Their ending.
        said: What is the matter: `8 videos (vid/IMG_101.mp4, …) do not say which recording they belong to`.
        advice: How they would have to be called.
    """

    suffix: str
    said: str
    advice: str


@dataclass(frozen=True)
class Paired:
    """What a folder holds.

    Attributes:
        sources: Groups of the same recordings; all have as many variable words.
        annotations: The groups that hold their annotations.
        strays: Files that belong to none of the recordings, and should.
    """

    sources: tuple[Looked, ...]
    annotations: tuple[Looked, ...]
    strays: tuple[Stray, ...]


def paired(found: Sequence[Looked]) -> Paired:
    """Tells which groups are of the same recordings as the one whose names say most.

    Args:
        found: What was found in the folder.
    """
    recordings = [each for each in found if each.is_recording]
    recordings = recordings or [each for each in found if not each.is_annotations and not each.group.is_annotations]
    if not any(each.group.variable for each in recordings):
        return Paired((), (), ())
    main = max(recordings, key=lambda each: _says(each.group))
    fits = [_as_in(main.group, each) for each in recordings]
    sources = _connected([main], [fit for fit in fits if fit is not None])
    known = _keys(*sources)
    annotations = [_as_in(main.group, each) or each for each in found if each.is_annotations]
    labelled = [each for each in annotations if _keys(each) & known]
    strays = [each for each in annotations if not labelled]
    endings = {each.group.suffix for each in sources}
    for each, fit in zip(recordings, fits, strict=True):
        # A table or two beside the recordings is none of them; what is named alike, or all films, should be.
        is_unheard = each.group.suffix not in endings and (each.group.suffix not in TEXT or len(each.group.files) > 1)
        if is_unheard or (fit is not None and not _keys(fit) & known):
            strays.append(each)
    return Paired(tuple(sources), tuple(labelled), tuple(_told(strays, main.group)))


def _says(group: Group) -> tuple[bool, int, bool, int]:
    """How much names tell of their recordings: words rather than a camera's numbers, then how many."""
    places = [place for place in group.variable if place not in group.moments]
    has_words = any(not value.isdigit() for place in places for value in group.values(place))
    return has_words and len(places) > 1, len(places), has_words, len(group.files)


def _as_in(main: Group, looked: Looked) -> Looked | None:
    """A group with as many variable words as another one; None where its names have none that could be those.

    Where all files are of one person, that word is the same in all of them, and varies in the other group.
    """
    group = looked.group
    if len(group.variable) == len(main.variable):
        return looked
    wanted = [set(map(_plain, main.values(place))) for place in main.variable]
    free = [k for k, word in enumerate(group.words[0]) if word.isalnum() and not is_source(word)][:_MOST_WORDS]
    for places in itertools.combinations(free, len(wanted)):
        is_whole = set(group.variable) <= set(places)
        if is_whole and all(
            values & set(map(_plain, group.values(k))) for k, values in zip(places, wanted, strict=True)
        ):
            return dataclasses.replace(looked, group=dataclasses.replace(group, variable=places))
    return None


def _connected(sources: list[Looked], others: list[Looked]) -> list[Looked]:
    """Those of some groups that have a recording in common with one that is taken, in the order of the folder."""
    taken = {each.group.files for each in sources}
    while more := [e for e in others if e.group.files not in taken and _keys(e) & _keys(*sources)]:
        sources = [*sources, *more]
        taken |= {each.group.files for each in more}
    return [each for each in others if each.group.files in taken]


def _keys(*looked: Looked) -> set[Words]:
    """What tells the recordings of groups apart: their variable words."""
    return {tuple(_plain(words[k]) for k in each.group.variable) for each in looked for words in each.group.words}


def _plain(word: str) -> str:
    """A number without the zeros before it: `01` is `1`."""
    return str(int(word)) if word.isdecimal() else word


def _told(strays: list[Looked], main: Group) -> list[Stray]:
    """Strays by their endings, and what they would have to be called."""
    told = []
    for suffix in dict.fromkeys(each.group.suffix for each in strays):
        groups = [each for each in strays if each.group.suffix == suffix]
        files = [path for each in groups for path in each.group.files]
        is_labels = all(each.is_annotations for each in groups)
        kind = "annotation file" if is_labels else _kind(suffix)
        others = "the recordings" if suffix == main.suffix else f"the {_kind(main.suffix)}s"
        example = f"{main.recording(0)}{'_labels' if is_labels else ''}{suffix}"
        shown = f"{files[0]}, …" if len(files) > 1 else files[0]
        said, it = (
            ("do not say which recording they belong to", "them")
            if len(files) > 1
            else ("does not say which recording it belongs to", "it")
        )
        advice = f"Name {it} as {others} are: {example}"
        told.append(Stray(suffix, f"{counted(len(files), kind)} ({shown}) {said}", advice))
    return told


def _kind(suffix: str) -> str:
    return "video" if suffix in VIDEOS else "array" if suffix in ARRAYS else f"{suffix[1:].upper()} file"
