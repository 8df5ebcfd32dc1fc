"""Names of parts, and the component behind each.

A part is built in (a table in its package's `__init__`), comes from an installed distribution through an entry point,
or from a file that the user names. Looking up a name imports that one part; listing names imports nothing.

The plain name of a part that kdbench ships always means that part. What a distribution registers under a name that is
taken goes by `distribution:name`, which also decides between two distributions that claim one name.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError, UsageError, unknown
from kdbench.registry.decorators import (
    ATTRIBUTE,
    READER,
    Part,
    dataset,
    decorated,
    encoder,
    fusion,
    launcher,
    loss,
    part_of,
    pooling,
    representation,
    semantics,
)
from kdbench.registry.discovery import VARIABLE, discover
from kdbench.registry.importing import load, resolved, said
from kdbench.registry.notice import once
from kdbench.registry.origin import BUILT_IN, THIS_PROCESS, Origin, label, normalised
from kdbench.util.extras import BENCH, installing

__all__ = [
    "ATTRIBUTE",
    "GROUPS",
    "KINDS",
    "Part",
    "Registry",
    "dataset",
    "decorated",
    "encoder",
    "fusion",
    "launcher",
    "loss",
    "part_of",
    "plugin_files",
    "pooling",
    "registry",
    "representation",
    "semantics",
    "unknown_anywhere",
]

KINDS = {
    "representation": "representations",
    "encoder": "encoders",
    "pooling": "poolings",
    "fusion": "fusions",
    "loss": "losses",
    "semantics": "semantics",
    "dataset": "datasets",
    "method": "methods",
    "teacher": "teachers",
    "launcher": "launchers",
}
RECIPES = ("method", "teacher")
"""Kinds whose parts are YAML files, and no code."""
GROUPS = {f"kdbench.{plural}": kind for kind, plural in KINDS.items()}
"""The kind of each entry-point group."""
TABLES = {
    "dataset": "kdbench.data",
    "method": "kdbench.recipes.shipped",
    "teacher": "kdbench.recipes.teachers",
    "semantics": "kdbench.semantic_spaces",
    "launcher": "kdbench.launch",
}
"""Modules with the table of what is built in, where it is not the package of the kind's own name."""


class Registry:
    """All parts of one kind.

    Args:
        kind: The kind in the singular, a key of `KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"kdbench.{KINDS[kind]}"
        self._added: dict[str, tuple[Origin, Any]] = {}

    def _builtin(self) -> dict[str, str]:
        return dict(self._table().BUILTIN)

    def _unlisted(self) -> dict[str, str]:
        """What can be named in a file, and is none of the parts that are listed."""
        return dict(getattr(self._table(), "UNLISTED", {}))

    def _table(self) -> Any:
        return importlib.import_module(TABLES.get(self.kind, self.group))

    def families(self) -> dict[str, str]:
        """Libraries whose parts go by `PREFIX:NAME`, each with the function that makes a component of a name."""
        return dict(getattr(self._table(), "FAMILIES", {}))

    def _own(self) -> dict[str, Origin]:
        """What is built in or was added in this process, whose plain names no distribution can take."""
        own = {name: Origin(self.kind, name, target) for name, target in self._builtin().items()}
        return own | {name: origin for name, (origin, _) in self._added.items()}

    def origins(self) -> dict[str, Origin]:
        """Every known name with its origin, sorted; imports no component.

        What a plugin registers under a name that is taken, or that another plugin claims too, stands there as
        `distribution:name`.
        """
        own = self._own()
        names = dict(own)
        for name, claims in self._claims().items():
            if len(claims) == 1 and name not in own:
                names[name] = claims[0]
            else:
                # A name of several owners is known under each one's own.
                names |= {claim.qualified: claim for claim in claims if not self._is_hidden(claim)}
        return dict(sorted(names.items()))

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return list(self.origins())

    def clashes(self) -> list[str]:
        """A line on each name that has more than one owner, with the names to use instead."""
        own, lines = self._own(), []
        for name, claims in self._claims().items():
            if name in own:
                keeps = "the built-in one" if own[name].built_in else own[name].owner
                lines += [f"the {label(self.kind)} '{name}' is {keeps}; {self._way_to(claim)}" for claim in claims]
            elif len(claims) > 1:
                lines.append(self._ambiguous(name, claims).message)
        return lines

    def _way_to(self, claim: Origin) -> str:
        if self._is_hidden(claim):
            return f"that of {claim.owner} cannot be named, since '{normalised(claim.distribution)}:' is a family"
        return f"that of {claim.owner} goes by {claim.qualified}"

    def _is_hidden(self, claim: Origin) -> bool:
        return normalised(claim.distribution) in self.families()

    def has(self, name: str) -> bool:
        """Whether a name means something, be it broken or claimed twice; imports no component."""
        try:
            if self._find(name) is not None:
                return True
        except UsageError:
            # Claimed twice.
            pass
        return name in self._claims()

    def origin(self, name: str) -> Origin:
        """Where a name comes from; imports no component.

        Raises:
            UsageError: No such name (the near misses are named), or two distributions claim it.
        """
        if (found := self._find(name)) is None:
            raise self.unknown(name)
        return found

    def _find(self, name: str) -> Origin | None:
        """As `origin`; None for no such name, whose near misses take longer to find than it takes to be asked for."""
        if name in self._added:
            return self._added[name][0]
        builtin = self._builtin()
        prefix, colon, rest = name.partition(":")
        if colon and prefix in self.families():
            return Origin(self.kind, name, self.families()[prefix])
        # `kdbench:NAME` is the built-in part, as `DISTRIBUTION:NAME` is a plugin's.
        own = rest if prefix == BUILT_IN else name
        unlisted = {} if own in builtin else self._unlisted()
        if own in builtin or own in unlisted:
            return Origin(self.kind, own, (unlisted or builtin)[own])
        claims = self._claims().get(rest if colon else name, [])
        if colon:
            claims = [claim for claim in claims if normalised(claim.distribution) == normalised(prefix)]
        if len(claims) > 1:
            raise self._ambiguous(name, claims)
        return claims[0] if claims else None

    def get(self, name: str) -> Any:
        """Imports and returns the component with this name.

        Raises:
            UsageError: No such name (the near misses are named), two distributions claim it, or the component cannot
                be imported or is not decorated as what it is registered as.
        """
        if name in self._added:
            return self._added[name][1]
        origin = self.origin(name)
        if not origin.built_in:
            return self.load(origin)
        try:
            component = resolved(origin.target)
            known = origin.name in self._builtin() or origin.name in self._unlisted()
            # What a family's entry leads to makes a component of a name.
            return component if known else component(name.partition(":")[2])
        except ImportError as error:
            library = (error.name or "").partition(".")[0]
            again = f"Install kdbench again: {installing(BENCH)}"
            hint = f"Install it: pip install {library}" if library else again
            raise UsageError(
                f"the {self.kind} '{name}' ({origin.target}, built in) cannot be imported: {said(error)}", hint=hint
            ) from error

    def load(self, origin: Origin) -> Any:
        """Imports and returns the component of a plugin's origin; errors as in `get`."""
        return load(origin, lambda component: self._check(origin, component))

    def components(self) -> Iterator[tuple[str, Any]]:
        """Every part that can be imported, by name; one that cannot costs a line on the error stream."""
        for name in self.names():
            try:
                yield name, self.get(name)
            except KdbenchError as error:
                once(f"warning: {error.message}")

    def add(self, component: Any, origin: Origin | None = None) -> None:
        """Makes a decorated component known in this process, without packaging.

        Args:
            component: What is decorated.
            origin: Where it comes from; this process by default.

        Raises:
            UsageError: It is not decorated as this kind, or the name is taken.
        """
        part = getattr(component, ATTRIBUTE, None)
        if part is None or part.kind != self.kind:
            raise UsageError(
                f"{component!r} is not decorated with @{self.kind}(NAME)",
                hint=f"Put @{self.kind}(NAME, …) from kdbench above it.",
            )
        self.demand_free(part.name, "Give yours another name.")
        self._added[part.name] = origin or _of_this_process(self.kind, part.name, component), component

    def demand_free(self, name: str, hint: str) -> None:
        """Refuses a name that is taken.

        Args:
            name: The name.
            hint: What to do where it is.

        Raises:
            UsageError: It means something already.
        """
        owner = self.origins().get(name)
        if owner is not None or self.has(name):
            by = f" ({owner.owner})" if owner else ""
            raise UsageError(f"the {label(self.kind)} '{name}' exists already{by}", hint=hint)

    def drop(self, file: Path) -> list[tuple[Origin, Any]]:
        """Forgets what was added from a file, and returns it."""
        dropped = [name for name, (origin, _) in self._added.items() if origin.file == file]
        return [self._added.pop(name) for name in dropped]

    def _claims(self) -> dict[str, list[Origin]]:
        """What the installed distributions register, by the name that they give it."""
        claims: dict[str, list[Origin]] = {}
        # In one order, whatever the import path has, so that messages repeat.
        for origin in sorted(discover(GROUPS).origins, key=lambda origin: origin.owner):
            if origin.kind == self.kind:
                claims.setdefault(origin.name, []).append(origin)
        return claims

    def _ambiguous(self, name: str, claims: list[Origin]) -> UsageError:
        owners = " and by ".join(claim.owner for claim in claims)
        ways = " or ".join(claim.qualified for claim in claims if not self._is_hidden(claim))
        return UsageError(f"the {label(self.kind)} '{name}' is claimed by {owners}", hint=f"Say which one: {ways}")

    def unknown(self, name: str, more: Iterable[str] = ()) -> UsageError:
        """The error for a name that means nothing here: switched off, or misspelt.

        Args:
            name: The name.
            more: Names that would do besides those that are registered.
        """
        hint = f"See them all: kdbench list {KINDS[self.kind]}"
        if self.kind not in (*RECIPES, "dataset"):
            hint += ". One of your own: --plugin FILE.py"
        return self.switched_off(name) or unknown(label(self.kind), name, [*self.origins(), *more], hint=hint)

    def switched_off(self, name: str) -> UsageError | None:
        """The error for a name that `$KDBENCH_PLUGINS` leaves out; None for any other."""
        for origin in discover(GROUPS).left_out:
            if origin.kind == self.kind and name in {origin.name, origin.qualified}:
                return UsageError(
                    f"the {label(self.kind)} '{name}' of {origin.owner} is switched off by ${VARIABLE}",
                    hint=f"Unset {VARIABLE}, or add {normalised(origin.distribution)} to it.",
                )
        return None

    def _check(self, origin: Origin, component: Any) -> None:
        """Raises a `UsageError` where a plugin's object is not what its entry point says."""
        what = f"the {label(self.kind)} '{origin.name}' of {origin.owner} ({origin.target})"
        if self.kind == "dataset":
            if not (isinstance(component, type) and hasattr(component, READER)):
                raise UsageError(
                    f"{what} is not a subclass of kdbench.Reader", hint="Derive it: class NAME(kdbench.Reader)."
                )
            return
        part, wanted = getattr(component, ATTRIBUTE, None), f"Put @{self.kind}('{origin.name}', …)"
        if not isinstance(part, Part):
            raise UsageError(f"{what} is not decorated", hint=f"{wanted} from kdbench above it.")
        if (part.kind, part.name) != (self.kind, origin.name):
            raise UsageError(
                f"{what} is decorated as the {part.kind} '{part.name}'",
                hint=f"{wanted} above it, or register it as what it is.",
            )


def _of_this_process(kind: str, name: str, component: Any) -> Origin:
    try:
        # What was typed into an interpreter has no source.
        sha256 = hashlib.sha256(inspect.getsource(component).encode()).hexdigest()
    except (OSError, TypeError):
        sha256 = None
    target = f"{component.__module__}:{component.__qualname__}"
    return Origin(kind, name, target, THIS_PROCESS, sha256=sha256)


_REGISTRIES: dict[str, Registry] = {kind: Registry(kind) for kind in KINDS}


def registry(kind: str) -> Registry:
    """The registry of a kind (`loss`, `encoder`, …)."""
    if kind not in _REGISTRIES:
        raise unknown("kind of part", kind, _REGISTRIES, hint="Name it in the singular, such as loss.")
    return _REGISTRIES[kind]


def unknown_anywhere(name: str, others: Iterable[str] = ()) -> UsageError:
    """The error for a name that means nothing in any kind: switched off, or misspelt.

    Args:
        name: The name.
        others: Names that are known beside those of the kinds.
    """
    registries = [registry(kind) for kind in KINDS]
    off = next((error for kind in registries if (error := kind.switched_off(name))), None)
    known = {known for kind in registries for known in kind.names()} | set(others)
    return off or unknown("name", name, known, hint="See them all: kdbench list. A part of your own: --plugin FILE.py")


def plugin_files() -> list[str]:
    """Files whose parts this process was given by their path, for processes that have to know them too."""
    return sorted({str(origin.file) for kind in KINDS for origin in registry(kind).origins().values() if origin.file})
