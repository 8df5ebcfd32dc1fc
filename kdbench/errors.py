"""Errors written for the person who has to act; each class carries the command's exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from kdbench.text.redaction import redacted

_LONGEST = 8000
_LONGEST_NAME = 60
_MISSPELT = 0.9
"""How alike a name is to another, from 0 to 1, that is that one with a slip."""
_READABLE = 30


class KdbenchError(Exception):
    """A failure that the user can understand and mend; passwords and tokens in it are masked.

    Args:
        message: What is wrong and where (file, key, trial), and what was expected.
        hint: The next step, in the imperative; printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        told = redacted(message)
        self.message = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
        self.hint = redacted(hint) if hint else hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(KdbenchError):
    """The request itself is wrong: an unknown name, a bad value, parts that do not fit together."""

    exit_code = 2


class ParameterError(UsageError):
    """A part does not take the values that some of its parameters have.

    A part does not know where it stands in a recipe. Who builds it from one does, and writes the next step with the
    recipe's keys: `kdbench.recipes.placed`.

    Args:
        message: As of `KdbenchError`.
        keys: The parameters.
        instead: Values that would do, by parameter; by default each parameter's own default value would.
        hint: The next step, where it is another than other values.

    Attributes:
        keys: All parameters that are to blame.
        instead: As given.
    """

    def __init__(
        self, message: str, *keys: str, instead: Mapping[str, object] | None = None, hint: str | None = None
    ) -> None:
        self.instead = dict(instead or {})
        self.keys = tuple(dict.fromkeys((*keys, *self.instead)))
        if hint is None and self.instead:
            hint = f"For example: {', '.join(f'{key}={value!r}' for key, value in self.instead.items())}"
        elif hint is None and self.keys:
            defaults = "its default" if len(self.keys) == 1 else "their defaults"
            hint = f"Leave {' and '.join(self.keys)} out for {defaults}."
        super().__init__(message, hint=hint)


class Unavailable(UsageError):
    """Something to be fetched, such as pretrained weights, is neither here nor reachable."""


class DataError(KdbenchError):
    """Data are missing, broken, or not what their card says."""

    exit_code = 3


class RunFailed(KdbenchError):
    """A run started and could not finish: NaN, a full disk, a teacher at chance level."""

    exit_code = 1


class Interrupted(KdbenchError):
    """The user stopped a run; it can be resumed."""

    exit_code = 130


def unknown(
    kind: str, name: str, known: Iterable[str], *, of: str | None = None, hint: str | None = None
) -> UsageError:
    """Builds the error for a name that does not exist, with the near misses first.

    Args:
        kind: What was asked for, in the singular: `loss`, `recipe key`.
        name: What the user wrote.
        known: Every name that exists.
        of: What has no such thing: `student.losses.st`.
        hint: The command that lists what exists.
    """
    what = f"unknown {kind}" if of is None else f"{of} has no {kind}"
    return UsageError(f"{what} '{shortened(name)}'{near_misses(name, known, brief=bool(hint))}", hint=hint)


def unknown_value(key: str, value: object, known: Iterable[str], *, of: str) -> ParameterError:
    """Builds the error for a parameter that takes one of some words, and was given another.

    Args:
        key: The parameter.
        value: What it was given.
        known: Every word that it takes.
        of: Its part.
    """
    words, given = list(known), str(value)
    near = _near(given, words)
    message = f"unknown {key} of {of} '{shortened(given)}'{near_misses(given, words)}"
    return ParameterError(message, key, instead={key: near[0]} if near else None)


def _is_longer(name: str, than: str) -> bool:
    """Whether a name is another one and further words: `keyless_attention` is, of `keyless`."""
    return len(than) > 3 and name.lower().startswith(f"{than.lower()}_")


def near_misses(name: str, known: Iterable[str], *, brief: bool = False) -> str:
    """What goes behind an unknown name: `; did you mean 'st'? (known: ce, st)`; empty where nothing is known.

    Args:
        name: What the user wrote.
        known: Every name that exists.
        brief: Whether a long list becomes its length.
    """
    options = sorted(set(known))
    near = _near(name, options)
    message = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    if brief and len(options) > _READABLE:
        message += f" ({len(options)} are known)"
    elif options:
        message += f" (known: {', '.join(options)})"
    return message


def _near(name: str, options: Iterable[str]) -> list[str]:
    """Up to three of the options that a name may be meant for, the likeliest first."""
    options = sorted(set(options))
    near = [each for each in options if each.lower() == name.lower()]
    if near or len(name) > _LONGEST_NAME:
        return near
    return (
        difflib.get_close_matches(name, options, n=3, cutoff=_MISSPELT)
        or [each for each in options if _is_longer(name, each) or _is_longer(each, name)][:3]
        or difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    )


def shortened(text: str, most: int = _LONGEST_NAME) -> str:
    """Text as a message shows it: in one line, without control characters, and cut in its middle where it is long."""
    if len(text) > most:
        half = (most - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
