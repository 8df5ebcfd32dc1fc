"""From what a user names to what is checked: a part, a method, a data set, a whole kind, a file, or a component."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import UsageError, unknown
from kdbench.recipes.kinds import recipe_kind
from kdbench.recipes.shipped import behind
from kdbench.registry import KINDS, RECIPES, Part, part_of, registry, unknown_anywhere
from kdbench.registry.origin import THIS_PROCESS, Origin
from kdbench.testing.base import Check, CheckSuite, Report
from kdbench.testing.suites import SUITES
from kdbench.util.paths import read_mapping

NAMED = ("dataset", *RECIPES)
"""Kinds that are checked by their name or file: what is registered of them is a reader, or nothing to import."""


@dataclass(frozen=True)
class Target:
    """One thing to check.

    Attributes:
        kind: Its kind.
        name: Its name.
        component: The component itself, where it is not registered.
    """

    kind: str
    name: str
    component: Any = None

    @property
    def suite(self) -> CheckSuite:
        """The checks of its kind."""
        return suite_of(self.kind)

    def load(self) -> Any:
        """The component; for data sets and methods there is only the name."""
        if self.component is not None or self.kind in NAMED:
            return self.component
        return registry(self.kind).get(self.name)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Makes the component known in this process inside the block.

        Raises:
            UsageError: Its name is taken.
        """
        if self.component is None:
            yield
            return
        # No file has such a name; by it the component is found again.
        mark = Path(f"\0{id(self.component)}")
        target = f"{self.component.__module__}:{self.component.__qualname__}"
        registry(self.kind).add(self.component, Origin(self.kind, self.name, target, THIS_PROCESS, file=mark))
        try:
            yield
        finally:
            registry(self.kind).drop(mark)


def suite_of(kind: str) -> CheckSuite:
    """The checks of a kind."""
    module, _, attribute = SUITES[kind].partition(":")
    suite: CheckSuite = getattr(importlib.import_module(module), attribute)
    return suite


def kind_of(word: str) -> str:
    """A kind by its name in the singular or plural.

    Raises:
        UsageError: There is none.
    """
    singular = {plural: kind for kind, plural in KINDS.items()}.get(word, word)
    if singular not in KINDS:
        raise unknown("kind of part", word, KINDS, hint="See what there is of each kind: kdbench list")
    return singular


def targets(kind: str | None, what: Any) -> list[Target]:
    """What a name, a file or a component stands for.

    Args:
        kind: The kind in the singular or plural; None for any.
        what: A registered name, the path of a recipe's or card's file, or a decorated component.

    Raises:
        UsageError: There is no such name or kind, or the component is of another kind.
    """
    wanted = None if kind is None else kind_of(kind)
    if not isinstance(what, str | Path):
        part = part_of(what)
        if wanted not in (None, part.kind):
            raise UsageError(
                f"'{part.name}' is declared as a {part.kind}, and asked for as a {wanted}",
                hint=f"Check it as a {part.kind}.",
            )
        return [Target(part.kind, part.name, None if _is_registered(part, what) else what)]
    name = str(what)
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return [_of_file(Path(name), wanted)]
    kinds = [wanted] if wanted else list(KINDS)
    meant = [Target(candidate, name) for candidate in kinds if registry(candidate).has(name)]
    if wanted in (None, "method") and behind(name):
        meant.insert(0, Target("method", name))
    if not meant:
        raise registry(wanted).unknown(name) if wanted else unknown_anywhere(name)
    return meant


def everything(kind: str) -> list[Target]:
    """Every registered name of a kind.

    Args:
        kind: In the singular or plural.
    """
    singular = kind_of(kind)
    return [Target(singular, name) for name in registry(singular).names()]


def checks_of(targets: Sequence[Target], options: Mapping[str, Any], only: Sequence[str] = ()) -> list[Check]:
    """The checks of some targets; nothing is loaded or run yet.

    Args:
        targets: The targets. Each gets the options and is asked for the checks that its kind has.
        options: Options of the cases.
        only: Names of the checks that are wanted; all where there are none.

    Raises:
        UsageError: An option or a check that none of them has.
    """
    kinds = " or ".join(dict.fromkeys(target.kind for target in targets))
    known_options = {name for target in targets for name in target.suite.options}
    known_checks = {name for target in targets for name in target.suite.names}
    for option in options:
        if option not in known_options:
            raise unknown(
                f"option of the checks of a {kinds}", option, known_options, hint="Name one of them, or leave it out."
            )
    for name in only:
        if name not in known_checks:
            raise unknown(f"check of a {kinds}", name, known_checks, hint="Leave --only out for all of them.")
    checks: list[Check] = []
    for target in targets:
        suite = target.suite
        given = {name: value for name, value in options.items() if name in suite.options}
        wanted = [name for name in only if name in suite.names]
        if wanted or not only:
            checks += suite.checks(target.kind, target.name, target.load, given, only=wanted, present=target.present)
    return checks


def report_of(checks: Iterable[Check], on_result: Callable[[Any], None] | None = None) -> Report:
    """Runs checks.

    Args:
        checks: Which ones.
        on_result: Called with each result.
    """
    results = []
    for check in checks:
        results.append(check.run())
        if on_result is not None:
            on_result(results[-1])
    return Report(tuple(results))


def _of_file(path: Path, wanted: str | None) -> Target:
    if not path.is_file():
        raise UsageError(
            f"there is no file {path}", hint="Give a name, or the path of a recipe's or a card's YAML file."
        )
    kind = wanted or _kind_of(read_mapping(path, "file"))
    if kind not in NAMED:
        raise UsageError(
            f"{path} cannot be a {kind}: files hold recipes and cards", hint="A part of your own: --plugin FILE.py"
        )
    return Target(kind, str(path))


def _kind_of(content: Mapping[str, Any]) -> str:
    """What a file holds: a card names its reader, and the others are recipes."""
    return "dataset" if "reader" in content else recipe_kind(content)


def _is_registered(part: Part, component: Any) -> bool:
    known = registry(part.kind)
    return known.has(part.name) and known.get(part.name) is component
