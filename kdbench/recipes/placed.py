"""Errors of a part that was built from a recipe, told with the keys of the recipe."""

from __future__ import annotations

import inspect
import shlex
from typing import Any

from kdbench.errors import KdbenchError, ParameterError
from kdbench.recipes.changes import assignments


def placed(error: KdbenchError, where: str, name: str, component: Any) -> KdbenchError:
    """An error of a part with the part's place in front and with the next step for a recipe.

    Args:
        error: What the part raised; it names itself, if at all, in front: `concat: hidden = 0, expected …`.
        where: Key of the recipe that the part stands under: `teacher.fusion`.
        name: Registered name of the part.
        component: What was registered, whose signature has the defaults.
    """
    if where in error.message:
        message = error.message
    else:
        message = f"{where} '{name}': {error.message.removeprefix(f'{name}: ')}"
    return retold(error, message, hint_at(error, where, name, component))


def retold(error: KdbenchError, message: str, hint: str | None) -> KdbenchError:
    """An error of the same kind with other words; of a class of a plugin's own, the class of kdbench's behind it."""
    own = next(kind for kind in type(error).__mro__ if kind.__module__ == KdbenchError.__module__)
    assert issubclass(own, KdbenchError)
    return own(message, hint=hint)


def hint_at(error: KdbenchError, where: str, name: str, component: Any) -> str | None:
    """The next step after an error of a part; arguments as of `placed`."""
    if not isinstance(error, ParameterError) or not error.keys:
        return error.hint
    defaults = {key: parameter.default for key, parameter in inspect.signature(component).parameters.items()}
    would_do = {**defaults, **error.instead}
    # What a part hands on to another has its default there.
    if any(would_do.get(key, _NONE) is _NONE for key in error.keys):
        return f"See its parameters: kdbench describe {shlex.quote(name)}"
    changes = [_assignment(f"{where}.{key}", would_do[key]) for key in error.keys]
    return f"For example: {' '.join(f'--set {shlex.quote(change)}' for change in changes)}"


_NONE = inspect.Parameter.empty


def _assignment(key: str, value: object) -> str:
    """A parameter's value as `--set` takes it."""
    (text,) = assignments({key: list(value) if isinstance(value, tuple) else value})
    # A list is one word without its spaces.
    return text.replace(", ", ",") if isinstance(value, tuple | list) else text
