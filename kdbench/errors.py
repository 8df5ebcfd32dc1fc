"""Errors written for the person who has to act; each class carries the command's exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from kdbench.redaction import redacted


class KdbenchError(Exception):
    """A failure that the user can understand and mend; passwords and tokens in it are masked.

    Args:
        message: What is wrong and where (file, key, trial), and what was expected.
        hint: The next step, in the imperative; printed on a line of its own.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redacted(message)
        self.hint = redacted(hint) if hint else hint
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(KdbenchError):
    """The request itself is wrong: an unknown name, a bad value, parts that do not fit together."""

    exit_code = 2


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


_READABLE = 30


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str | None = None) -> UsageError:
    """Builds the error for a name that does not exist, with the near misses first.

    Args:
        kind: What was asked for, in the singular: `loss`, `recipe key`.
        name: What the user wrote.
        known: Every name that exists.
        hint: The command that lists what exists.
    """
    options = sorted(set(known))
    near = difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    if near:
        message = f"unknown {kind} '{name}'; did you mean {' or '.join(repr(n) for n in near)}?"
    else:
        message = f"unknown {kind} '{name}'"
    if hint and len(options) > _READABLE:
        message += f" ({len(options)} are known)"
    elif options:
        message += f" (known: {', '.join(options)})"
    return UsageError(message, hint=hint)
