"""What names of files have in common: patterns with placeholders, guessed from a listing."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kdbench.data.recorded import ARRAYS, DIGITS, TEXT, VIDEOS

SUBJECT, ACTION, NUMBER, SESSION = "subject", "action", "n", "session"
NOBODY = -1
"""In the place of the word that is the person: all recordings are by one, and no word is."""
_SOURCES = re.compile(
    r"(total|linear|raw|user|watch|phone|wrist|left|right)*"
    r"(acc(el(eration|erometer)?)?|gyro(scope)?|mag(netometer)?|gravity|orientation|imu|inertial|skel(eton)?|pose|joints"
    r"|rgb|colou?r|video|camera|cam|depth|watch|phone|sensors?|motion)"
    r"(uncalibrated)?\d?",
    re.IGNORECASE,
)
_PERSON = re.compile(r"(s|subj|subject|p|participant|person|user|id)\d+", re.IGNORECASE)
_PASSED_OVER = re.compile(
    r"(meta|read)[ _-]?(data|me)|card|manifest|.*preview|locations?|barometer|battery|pedometer|activity|light"
    r"|brightness|network|microphone"
)
_FOLDERS_PASSED_OVER = {"meta", "__macosx"}
"""Folders that hold nothing recorded: phyphox's times and device of an export, and what macOS adds to archives."""
_MOMENT = re.compile(
    r"(?<!\d)(19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d[ _T-]*[0-2]\d[-_.]?[0-5]\d[-_.]?[0-5]\d(\d{3})?(?!\d)"
)
"""When a file was made, as apps and cameras write it into its name: `2026-05-01_10-22-33`, `20260501_102233`."""
_SESSION = re.compile(
    r"(day|date|week|visit|session|sitting|morning|noon|afternoon|evening|night|mon|tues|wednes|thurs|fri|satur|sun"
    r"|recording|rec|take|run|part|log|file|data)(day)?\d*",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+")
_LABELS = re.compile(r"(labels?|annotations?|intervals?|events?)", re.IGNORECASE)
_ACTIONS = re.compile(
    r"walk|run|jog|sit|stand|wave|clap|jump|fall|drink|eat|lie|lying|throw|kick|punch|push|pull|squat|bow|swipe|type"
    r"|write|read|cook|wash|sweep|climb|stairs|cycl|bike|still|idle|rest",
    re.IGNORECASE,
)
_BEFORE_SUBJECT = re.compile(r"s|subj|subject|p|participant|person|user", re.IGNORECASE)
_BEFORE_ACTION = re.compile(r"a|act|action|activity|class|label|gesture", re.IGNORECASE)
Words = tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Files whose names are built alike: those of one source.

    Attributes:
        words: Each file's name in words, with what lies between them; all are equally long.
        files: Their paths.
        variable: Which words differ from recording to recording.
        stream: What the names call the source; empty where they say nothing.
        suffix: The ending of all of them, in small letters.
        moments: Which words are numbers of a date and a time of day.
    """

    words: tuple[Words, ...]
    files: tuple[str, ...]
    variable: tuple[int, ...]
    stream: str
    suffix: str
    moments: tuple[int, ...] = ()

    @property
    def is_annotations(self) -> bool:
        """Whether its name says that it holds labels of stretches of time."""
        return any(map(_LABELS.fullmatch, self.stream.split("_")))

    def values(self, place: int) -> list[str]:
        """The different values of a word, in the order of the files."""
        return list(dict.fromkeys(words[place] for words in self.words))

    def pattern(self, names: Sequence[str]) -> str:
        """The pattern of its files.

        Args:
            names: A placeholder for each variable word.
        """
        called = dict(zip(self.variable, names, strict=True))
        parts = []
        for place, word in enumerate(self.words[0]):
            values = self.values(place)
            digits = place in called and all(map(str.isdigit, values))
            said = f"{{{called[place]}{f':{DIGITS}' if digits else ''}}}" if place in called else word
            parts.append("*" if place not in called and len(values) > 1 and place in self.moments else said)
        return "".join(parts) + self.suffix

    def recording(self, number: int) -> str:
        """What the name of a file tells of its recording: from the folder or name of its first variable word on.

        Args:
            number: Which file.
        """
        words = self.words[number]
        first = self.variable[0]
        while first and "/" not in words[first - 1]:
            first -= 1
        return "".join(words[first : self.variable[-1] + 1])

    @property
    def title(self) -> str:
        """The name that the file of every recording has, each in a folder of its own, where it is one word; or empty.

        A word that tells of a session, or nothing (`data`, `log`), is none.
        """
        folders = max((k for k, word in enumerate(self.words[0]) if "/" in word), default=-1)
        name = self.words[0][folders + 1 :]
        is_word = len(name) == 1 and name[0].isalpha() and not _SESSION.fullmatch(name[0])
        return name[0].casefold() if is_word and folders + 1 not in self.variable else ""

    def name_within_folders(self) -> int | None:
        """The only variable word of the names within folders, where it is no number and the folders vary; else None."""
        folders = max((k for k, word in enumerate(self.words[0]) if "/" in word), default=-1)
        within = [place for place in self.variable if place > folders]
        if len(within) != 1 or len(self.variable) < 2 or all(map(str.isdigit, self.values(within[0]))):
            return None
        return within[0]

    def only(self, place: int, values: Sequence[str]) -> Group:
        """The files of which a word has one of some values; called as the word is, where it is one.

        Args:
            place: Which word.
            values: Its values.
        """
        kept = [(words, path) for words, path in zip(self.words, self.files, strict=True) if words[place] in values]
        words = tuple(each for each, _ in kept)
        variable = tuple(k for k in self.variable if len({each[k] for each in words}) > 1)
        stream = "_".join(filter(None, (self.stream, values[0].casefold() if len(values) == 1 else "")))
        return Group(words, tuple(path for _, path in kept), variable, stream, self.suffix, self.moments)


def words_of(path: str) -> Words:
    """A path without its ending, in words and what lies between them: `s01/wave_2` is s01, /, wave, _, 2.

    Words that are joined by nothing stay one, unless letters and digits take turns at least twice (`S29A01T01`).
    """
    stem = str(PurePosixPath(path).with_suffix(""))
    parts: list[str] = []
    for piece in re.split(r"([/_\-. ]+)", stem):
        turns = _PARTS.findall(piece)
        parts += turns if len(turns) >= 4 and all(turn.isalnum() for turn in turns) else [piece]
    return tuple(part for part in parts if part)


def groups_of(paths: Sequence[str]) -> list[Group]:
    """Files whose names are built alike, those that may hold something recorded.

    A date with a time of day is no part of what tells recordings apart, where the other words do.

    Args:
        paths: Paths of all files below the folder.
    """
    alike: dict[tuple[str, Words], list[tuple[Words, str]]] = {}
    for path in paths:
        pure = PurePosixPath(path)
        suffix, words = pure.suffix.lower(), words_of(path)
        is_beside = not _FOLDERS_PASSED_OVER.isdisjoint(part.lower() for part in pure.parts[:-1])
        if suffix not in (*TEXT, *ARRAYS, *VIDEOS) or is_beside or _PASSED_OVER.fullmatch(pure.stem.lower()):
            continue
        kept = tuple(w.lower() if is_source(w) else w if not w.isalnum() else "" for w in words)
        alike.setdefault((suffix, kept), []).append((words, path))
    groups = []
    for (suffix, kept), found in alike.items():
        stream = "_".join(word for word in kept if word.isalnum() and word)
        named = tuple(each for each, _ in found)
        variable = tuple(k for k in range(len(named[0])) if not kept[k] and len({each[k] for each in named}) > 1)
        moments = tuple(sorted(set.intersection(*map(_moment, named))))
        untimed = tuple(k for k in variable if k not in moments)
        if untimed and len({tuple(each[k] for k in untimed) for each in named}) == len(named):
            variable = untimed
        groups.append(Group(named, tuple(path for _, path in found), variable, stream, suffix, moments))
    return groups


def _moment(words: Words) -> set[int]:
    """The words of a name that are numbers of a date with a time of day."""
    ends = list(itertools.accumulate(map(len, words)))
    spans = [match.span() for match in _MOMENT.finditer("".join(words))]
    return {
        k
        for k, (word, end) in enumerate(zip(words, ends, strict=True))
        if word.isalnum() and any(start <= end - len(word) and end <= stop for start, stop in spans)
    }


def is_source(word: str) -> bool:
    """Whether a word of a name says what recorded it, or that it holds labels."""
    return bool(_SOURCES.fullmatch(word) or _LABELS.fullmatch(word))


def is_action(word: str) -> bool:
    """Whether a word of a name is like those of actions."""
    return bool(_ACTIONS.search(word))


def placeholders(
    groups: Sequence[Group], subject: int | None = None, label: int | None = None, *, windows: bool = False
) -> list[str]:
    """A name for each variable word, in the order of the patterns.

    Args:
        groups: The sources; all have as many variable words.
        subject: Which variable word is the person, from 0; None guesses, and `NOBODY` is none of them.
        label: Which one is the class.
        windows: Whether annotations tell the class, so that no word does.
    """
    count = len(groups[0].variable)
    values = [list(dict.fromkeys(v for g in groups for v in g.values(g.variable[k]))) for k in range(count)]
    before = [_before(groups[0], place) for place in groups[0].variable]
    if subject is None:
        subject = next((k for k, word in enumerate(before) if k != label and _BEFORE_SUBJECT.fullmatch(word)), None)
    if label is None and not windows:
        said = (k for k, word in enumerate(before) if k != subject and _BEFORE_ACTION.fullmatch(word))
        label = next(said, _label(values, subject))
    if subject is None:
        subject = _person(values) if windows else _subject(values, label)
    texts = (k for k in range(count) if windows and k != subject and not all(map(str.isdigit, values[k])))
    called = {next(texts, None): SESSION, label: ACTION, subject: SUBJECT}
    free = iter([NUMBER, *(f"{NUMBER}{k}" for k in range(2, count + 2))])
    return [called.get(place) or next(free) for place in range(count)]


def _before(group: Group, place: int) -> str:
    """The letters that stand before a word, as the S of S29; empty where something lies between."""
    word = group.words[0][place - 1] if place else ""
    return word if word.isalpha() else ""


def _label(values: Sequence[Sequence[str]], subject: int | None) -> int | None:
    texts = [k for k, each in enumerate(values) if k != subject and not all(map(str.isdigit, each))]
    texts = [k for k in texts if not all(map(_PERSON.fullmatch, values[k]))]
    known = [k for k in texts if any(map(_ACTIONS.search, values[k]))]
    return known[-1] if known else texts[-1] if texts else None


def _subject(values: Sequence[Sequence[str]], label: int | None) -> int | None:
    others = [k for k in range(len(values)) if k != label]
    people = [k for k in others if all(map(_PERSON.fullmatch, values[k]))]
    texts = [k for k in others if not all(map(str.isdigit, values[k]))]
    if people or texts:
        return (people or texts)[0]
    # Of two numbers, the first is mostly the person and the last the repetition.
    return others[0] if len(others) > 1 else None


def _person(values: Sequence[Sequence[str]]) -> int | None:
    """The person where no word is an action: what looks like one, else the first that is words of letters."""
    people = [k for k, each in enumerate(values) if all(map(_PERSON.fullmatch, each))]
    letters = [k for k, each in enumerate(values) if all(v.isalpha() and not _SESSION.fullmatch(v) for v in each)]
    return next(iter(people or letters), None)


def actions_in(group: Group) -> list[str]:
    """The words that are the same in all names of a group and look like actions."""
    same = [word for place, word in enumerate(group.words[0]) if len(group.values(place)) == 1 and not is_source(word)]
    return [word for word in same if word.isalpha() and _ACTIONS.search(word)]


def is_certain(groups: Sequence[Group], names: Sequence[str], called: str) -> bool:
    """Whether the names themselves tell that a placeholder is the person, or the class.

    Args:
        groups: The sources.
        names: A placeholder for each variable word.
        called: `subject` or `action`.
    """
    if called not in names:
        return False
    place = names.index(called)
    before, values = _before(groups[0], groups[0].variable[place]), examples(groups, place)
    if called == ACTION:
        return bool(_BEFORE_ACTION.fullmatch(before)) or any(map(_ACTIONS.search, values))
    others = [v for k, name in enumerate(names) if name not in (ACTION, SUBJECT) for v in examples(groups, k)]
    are_counted = all(value.isdigit() or _SESSION.fullmatch(value) for value in others)
    is_only_text = are_counted and not all(map(str.isdigit, values))
    return bool(_BEFORE_SUBJECT.fullmatch(before)) or all(map(_PERSON.fullmatch, values)) or is_only_text


def examples(groups: Sequence[Group], place: int) -> list[str]:
    """The values of a variable word, the most frequent first."""
    counts = Counter(words[group.variable[place]] for group in groups for words in group.words)
    return [value for value, _ in counts.most_common()]
