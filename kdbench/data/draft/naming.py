"""What names of files have in common: patterns with placeholders, guessed from a listing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from kdbench.data.recorded import ARRAYS, DIGITS, TEXT, VIDEOS

SUBJECT, ACTION, NUMBER = "subject", "action", "n"
_SOURCES = re.compile(
    r"(total|linear|raw|user|watch|phone|wrist|left|right)*"
    r"(acc(el(eration|erometer)?)?|gyro(scope)?|mag(netometer)?|gravity|orientation|imu|inertial|skel(eton)?|pose|joints"
    r"|rgb|colou?r|video|camera|cam|depth|watch|phone|sensors?|motion)"
    r"(uncalibrated)?\d?",
    re.IGNORECASE,
)
_PERSON = re.compile(r"(s|subj|subject|p|participant|person|user|id)\d+", re.IGNORECASE)
_PASSED_OVER = re.compile(
    r"(meta|read)[ _-]?(data|me)|card|manifest|.*preview|locations?|barometer|battery|annotations?"
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
        suffix: The ending of all of them.
    """

    words: tuple[Words, ...]
    files: tuple[str, ...]
    variable: tuple[int, ...]
    stream: str
    suffix: str

    @property
    def is_annotations(self) -> bool:
        """Whether its name says that it holds labels of stretches of time."""
        return bool(_LABELS.fullmatch(self.stream))

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
            digits = place in called and all(value.isdigit() for value in self.values(place))
            parts.append(f"{{{called[place]}{f':{DIGITS}' if digits else ''}}}" if place in called else word)
        return "".join(parts) + self.suffix


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
    """The sources that a folder seems to hold, the most frequent ones; files that fit nowhere are left out.

    Args:
        paths: Paths of all files below the folder.
    """
    alike: dict[tuple[str, Words], list[tuple[Words, str]]] = {}
    for path in paths:
        pure = PurePosixPath(path)
        suffix, words = pure.suffix.lower(), words_of(path)
        is_named_oddly = _PASSED_OVER.fullmatch(pure.stem.lower()) and not _LABELS.fullmatch(pure.stem)
        if suffix not in (*TEXT, *ARRAYS, *VIDEOS) or is_named_oddly:
            continue
        kept = tuple(w.lower() if _is_source(w) else w if not w.isalnum() else "" for w in words)
        alike.setdefault((pure.suffix, kept), []).append((words, path))
    groups = []
    for (suffix, kept), found in alike.items():
        stream = "_".join(word for word in kept if word.isalnum() and word)
        named = tuple(each for each, _ in found)
        variable = tuple(k for k in range(len(named[0])) if not kept[k] and len({each[k] for each in named}) > 1)
        groups.append(Group(named, tuple(path for _, path in found), variable, stream, suffix))
    most = max((len(group.variable) for group in groups), default=0)
    return [group for group in groups if len(group.variable) == most and most]


def _is_source(word: str) -> bool:
    return bool(_SOURCES.fullmatch(word) or _LABELS.fullmatch(word))


def placeholders(groups: Sequence[Group], subject: int | None = None, label: int | None = None) -> list[str]:
    """A name for each variable word, in the order of the patterns.

    Args:
        groups: The sources; all have as many variable words.
        subject: Which variable word is the person, from 0; None guesses.
        label: Which one is the class.
    """
    count = len(groups[0].variable)
    values = [list(dict.fromkeys(v for g in groups for v in g.values(g.variable[k]))) for k in range(count)]
    before = [_before(groups[0], place) for place in groups[0].variable]
    if subject is None:
        subject = next((k for k, word in enumerate(before) if k != label and _BEFORE_SUBJECT.fullmatch(word)), None)
    if label is None:
        said = (k for k, word in enumerate(before) if k != subject and _BEFORE_ACTION.fullmatch(word))
        label = next(said, _label(values, subject))
    if subject is None:
        subject = _subject(values, label)
    free = iter([NUMBER, *(f"{NUMBER}{k}" for k in range(2, count + 2))])
    return [SUBJECT if place == subject else ACTION if place == label else next(free) for place in range(count)]


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
    others = [k for k, name in enumerate(names) if name not in (ACTION, SUBJECT)]
    is_only_text = all(all(map(str.isdigit, examples(groups, k))) for k in others) and not all(map(str.isdigit, values))
    return bool(_BEFORE_SUBJECT.fullmatch(before)) or all(map(_PERSON.fullmatch, values)) or is_only_text


def examples(groups: Sequence[Group], place: int) -> list[str]:
    """The values of a variable word, the most frequent first."""
    counts = Counter(words[group.variable[place]] for group in groups for words in group.words)
    return [value for value, _ in counts.most_common()]
