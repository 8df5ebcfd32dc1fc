"""A loss from its name and its parameters in a recipe; what it does not take is refused by the recipe's keys."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from kdbench.errors import UsageError, unknown
from kdbench.recipes.mistyped import mistyped
from kdbench.registry import registry
from kdbench.types import Context

_NONE = inspect.Parameter.empty
_BY_NAME = inspect.Parameter.KEYWORD_ONLY
_ANY_POSITION, _ANY_NAME = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD


def check_parameters(name: str, params: Mapping[str, Any], where: str) -> None:
    """Checks the parameters that a recipe gives a loss by their names, before anything is built.

    Args:
        name: Registered name of the loss.
        params: The parameters.
        where: Key of the recipe that they stand under, for messages.

    Raises:
        UsageError: No such loss, an unknown parameter (with the near misses), or one that is missing.
    """
    component = registry("loss").get(name)
    is_class = inspect.isclass(component)
    given = {"self", "context"} if is_class else {"student", "teacher", "batch"}
    signature = inspect.signature(component.__init__ if is_class else component).parameters
    named = [key for key, parameter in signature.items() if parameter.kind not in (_ANY_POSITION, _ANY_NAME)]
    if not is_class:
        # Positional parameters without default are the features, whatever their author calls them.
        given |= {key for key in named if signature[key].default is _NONE and signature[key].kind is not _BY_NAME}
    known = [key for key in named if key not in given]
    is_open = any(parameter.kind is _ANY_NAME for parameter in signature.values())
    for key in params:
        if key in given or (key not in known and not is_open):
            raise unknown("parameter", key, ["weight", *known], of=where, hint=f"See them: kdbench describe {name}")
    missing = [key for key in known if signature[key].default is _NONE and key not in params]
    if missing:
        raise UsageError(
            f"{where} needs {' and '.join(missing)}, which has no default", hint=f"Set it: --set {where}.{missing[0]}=…"
        )


def build_loss(component: Any, name: str, params: dict[str, Any], context: Context, where: str) -> Any:
    """A module instance, or the function with its parameters bound.

    Args:
        component: The registered class or function.
        name: Registered name of the loss.
        params: Its parameters.
        context: What the framework tells a loss at construction.
        where: Key of the recipe that it stands under, for messages.

    Raises:
        UsageError: As of `check_parameters`, or a value that it does not take.
    """
    check_parameters(name, params, where)
    is_class = inspect.isclass(component)
    if not is_class:
        return functools.partial(component, **params) if params else component
    takes = inspect.signature(component.__init__).parameters
    extra = {"context": context} if "context" in takes else {}
    try:
        return component(**params, **extra)
    except (TypeError, ValueError) as error:
        if (told := mistyped(component, params, where, name)) is not None:
            raise told from error
        raise UsageError(
            f"{where} cannot be built: {error}", hint=f"See its parameters: kdbench describe {name}"
        ) from error
