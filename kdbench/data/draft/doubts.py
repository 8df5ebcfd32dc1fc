"""What the files of a folder do not tell for certain, and what the user says of it: who performs, and what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kdbench.data.draft import naming
from kdbench.data.draft.naming import ACTION, NOBODY, SUBJECT, Group
from kdbench.errors import UsageError

STRAYS = "left out"


@dataclass(frozen=True)
class Answers:
    """What is known beside the files.

    Attributes:
        name: What the data set is called; None: as its folder.
        subject: One of the words in the paths that name a person.
        label: One of the words that name an action.
        rates: Samples a second, by source.
        units: Units, by source.
    """

    name: str | None = None
    subject: str | None = None
    label: str | None = None
    rates: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Doubt:
    """Something that the files do not tell for certain.

    Attributes:
        key: `subject`, `label`, `rate SOURCE` or `unit SOURCE`; or `left out ENDING`, of files that belong nowhere.
        question: What one would ask; of files that belong nowhere, what is the matter.
        guess: What is taken without an answer; None where there is nothing to go by.
        advice: What to do about files that belong nowhere.
    """

    key: str
    question: str
    guess: str | None
    advice: str = ""


def placeholders(groups: Sequence[Group], answers: Answers, doubts: list[Doubt], *, windows: bool) -> list[str]:
    """A name for each variable word, by what the user says and what the words look like.

    Args:
        groups: The sources.
        answers: What the user says.
        doubts: Takes what is guessed without certainty.
        windows: Whether annotations tell the class.

    Raises:
        UsageError: An answer is no word of the names, or tells nothing apart; or no word can be the action.
    """
    if windows and answers.label is not None:
        raise UsageError(
            f"--label {answers.label} has no effect: the annotations tell what is done", hint="Leave it out."
        )
    subject = _place(groups, "subject", answers.subject)
    label = _place(groups, "label", answers.label)
    names = naming.placeholders(groups, subject, label, windows=windows)
    example = groups[0].files[0]
    if not windows and label is None:
        _check_actions(groups, names)
        if not naming.is_certain(groups, names, ACTION):
            question = f"Which part of a name such as {example} says what is done, the class?"
            doubts.append(Doubt("label", question, naming.examples(groups, names.index(ACTION))[0]))
    is_doubtful = subject is None and not naming.is_certain(groups, names, SUBJECT)
    if is_doubtful and (windows or len(names) > 1):
        guess = naming.examples(groups, names.index(SUBJECT))[0] if SUBJECT in names else None
        doubts.append(Doubt("subject", f"Which part of a name such as {example} says who performs?", guess))
    return names


def _check_actions(groups: Sequence[Group], names: Sequence[str]) -> None:
    """Refuses names of which no variable word is the action, or of which the action is the same everywhere."""
    example, differing = groups[0].files[0], _differing(groups)
    same = naming.actions_in(groups[0])
    texts = [k for k in range(len(names)) if not all(map(str.isdigit, naming.examples(groups, k)))]
    is_one = same and (ACTION not in names or (len(texts) < 2 and not naming.is_certain(groups, names, ACTION)))
    if is_one:
        other = f"; or, where what is done is what differs ({differing}), say so: --label WORD" if texts else ""
        raise UsageError(
            f"names such as {example} tell of one action alone, '{same[-1]}', and a data set has two or more",
            hint=f"Add recordings of another action, whose names differ in that word{other}",
        )
    if ACTION not in names:
        raise UsageError(
            f"no part of a name such as {example} looks like what is done; parts that differ are {differing}",
            hint="Name the files of each recording after its action, for example anna_wave_1; "
            "or say which part it is: --label WORD",
        )


def _differing(groups: Sequence[Group]) -> str:
    """The words that differ, with some values of each: `anna, ben, cleo; 1, 2`."""
    return "; ".join(", ".join(naming.examples(groups, k)[:3]) for k in range(len(groups[0].variable)))


def _place(groups: Sequence[Group], key: str, word: str | None) -> int | None:
    """Which variable word an answer means; `NOBODY` for a person who is in all names; None without an answer."""
    if word is None:
        return None
    for place in range(len(groups[0].variable)):
        if any(word in group.values(group.variable[place]) for group in groups):
            return place
    if all(word in words for group in groups for words in group.words):
        if key == "subject":
            return NOBODY
        raise UsageError(
            f"--{key} {word}: all names have this part, so that it tells nothing apart; parts that differ are "
            f"{_differing(groups)}",
            hint="A data set has two actions or more: add recordings of another one, named alike; or name a part that "
            f"differs, such as --{key} {naming.examples(groups, 0)[0]}",
        )
    raise UsageError(
        f"--{key} {word}: no name has this part; parts that differ are {_differing(groups)}",
        hint=f"Such as --{key} {naming.examples(groups, 0)[0]}",
    )
