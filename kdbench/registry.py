"""Names of parts, and where each comes from.

A part is built in (a table in its package's `__init__`) or comes from an installed distribution through an entry
point. Looking up a name imports that one part; listing names imports nothing.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from kdbench.errors import UsageError, unknown

KINDS = {
    "representation": "representations",
    "encoder": "encoders",
    "fusion": "fusions",
    "loss": "losses",
    "semantics": "semantics",
    "dataset": "datasets",
    "method": "methods",
}
TABLES = {"dataset": "kdbench.data", "method": "kdbench.methods"}
"""Modules with the table of what is built in, where it is not the package of the kind's own name."""
ATTRIBUTE = "__kdbench_part__"


@dataclass(frozen=True)
class Part:
    """What a decorator wrote on a component: its kind, its name and what it declares."""

    kind: str
    name: str
    declares: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """Where a name comes from.

    Attributes:
        name: The name that recipes use.
        target: `module:attribute`.
        distribution: Name of the installed distribution; `kdbench` for what is built in.
        version: The distribution's version.
    """

    name: str
    target: str
    distribution: str
    version: str

    @property
    def owner(self) -> str:
        """The distribution with its version, as lists show it."""
        return "built in" if self.distribution == "kdbench" else f"{self.distribution} {self.version}"

    @property
    def source(self) -> Path | None:
        """The file of the module, found without importing it; None where it cannot be."""
        top, *below = self.target.partition(":")[0].split(".")
        spec = importlib.util.find_spec(top)
        if spec is None or spec.origin is None:
            return None
        path = Path(spec.origin)
        if below:
            path = path.parent.joinpath(*below)
            path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return path

    def summary(self) -> str:
        """First line of the docstring, read from the source without importing it; empty where that cannot be."""
        attribute = self.target.partition(":")[2]
        source = self.source
        try:
            tree = ast.parse(source.read_text(encoding="utf-8")) if source else ast.Module([], [])
        except (OSError, SyntaxError, ValueError):
            return ""
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        return ""


class Registry:
    """All parts of one kind.

    Args:
        kind: The kind in the singular, a key of `KINDS`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"kdbench.{KINDS[kind]}"
        self._added: dict[str, Any] = {}

    def _builtin(self) -> dict[str, str]:
        return self._table().BUILTIN

    def _table(self) -> Any:
        return importlib.import_module(TABLES.get(self.kind, self.group))

    def families(self) -> dict[str, str]:
        """Libraries whose parts go by `PREFIX:NAME`, each with the function that makes a component of a name."""
        return dict(getattr(self._table(), "FAMILIES", {}))

    def origins(self) -> dict[str, Origin]:
        """Every known name with its origin, sorted; imports no component.

        Raises:
            UsageError: Two distributions claim one name.
        """
        found = {name: Origin(name, target, "kdbench", "") for name, target in self._builtin().items()}
        for point in _entry_points(tuple(sys.path)).select(group=self.group):
            origin = _origin(point)
            held = found.get(point.name)
            if held is not None and held.distribution == "kdbench":
                continue
            if held is not None and held.distribution != origin.distribution:
                raise UsageError(
                    f"the {self.kind} '{point.name}' is claimed by {held.owner} and by {origin.owner}",
                    hint=f"Uninstall one of them: pip uninstall {held.distribution}",
                )
            found[point.name] = origin
        for name, part in self._added.items():
            found.setdefault(name, Origin(name, f"{part.__module__}:{part.__qualname__}", "this process", ""))
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Every known name, sorted."""
        return list(self.origins())

    def get(self, name: str) -> Any:
        """Imports and returns the component with this name.

        Raises:
            UsageError: No such name (the near misses are named), or the component cannot be imported.
        """
        if name in self._added:
            return self._added[name]
        prefix, colon, rest = name.partition(":")
        if colon and prefix in self.families():
            return _imported(self.families()[prefix])(rest)
        origins = self.origins()
        if name not in origins:
            raise unknown(self.kind, name, origins, hint=f"See them all: kdbench list {KINDS[self.kind]}")
        origin = origins[name]
        try:
            return _imported(origin.target)
        except Exception as error:
            if origin.distribution == "kdbench" and not isinstance(error, ImportError):
                raise
            raise UsageError(
                f"the {self.kind} '{name}' ({origin.target}, {origin.owner}) cannot be imported: "
                f"{type(error).__name__}: {error}",
                hint="Mend or uninstall that distribution.",
            ) from error

    def add(self, component: Any) -> None:
        """Makes a decorated component known in this process, without packaging.

        Raises:
            UsageError: It is not decorated as this kind, or the name is taken.
        """
        part = getattr(component, ATTRIBUTE, None)
        if part is None or part.kind != self.kind:
            raise UsageError(f"{component!r} is not decorated with @{self.kind}(NAME)")
        if part.name in self.names():
            raise UsageError(f"the {self.kind} '{part.name}' exists already", hint="Give yours another name.")
        self._added[part.name] = component


def _imported(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))


@functools.lru_cache(maxsize=1)
def _entry_points(_path: tuple[str, ...]) -> Any:
    # Reads the metadata of every installed distribution: once for all kinds, and again where the path has changed.
    return entry_points()


def _origin(point: EntryPoint) -> Origin:
    distribution = point.dist
    name = distribution.name if distribution else "unknown distribution"
    return Origin(point.name, point.value, name, distribution.version if distribution else "")


_REGISTRIES: dict[str, Registry] = {kind: Registry(kind) for kind in KINDS}


def registry(kind: str) -> Registry:
    """The registry of a kind (`loss`, `encoder`, …)."""
    if kind not in _REGISTRIES:
        raise unknown("kind of part", kind, _REGISTRIES)
    return _REGISTRIES[kind]


def part_of(component: Any) -> Part:
    """What the decorator wrote on a component.

    Raises:
        UsageError: The component carries no decorator of kdbench.
    """
    part = getattr(component, ATTRIBUTE, None)
    if part is None:
        raise UsageError(
            f"{getattr(component, '__name__', component)!r} is not decorated as a part of kdbench",
            hint="Put @loss(NAME, …), @encoder(NAME), … from kdbench above it.",
        )
    return part


def _decorator(kind: str, name: str, declares: dict[str, Any]) -> Callable[[Any], Any]:
    def mark(component: Any) -> Any:
        setattr(component, ATTRIBUTE, Part(kind, name, declares))
        return component

    return mark


def loss(
    name: str,
    *,
    on: str | None = None,
    teacher: bool = True,
    project: bool = True,
    all_teachers: bool = False,
    needs: tuple[str, ...] = (),
    reads: tuple[str, ...] = (),
    batch_order: Literal["invariant", "sensitive"] = "invariant",
    compiles: bool = True,
) -> Callable[[Any], Any]:
    """Declares a distillation loss: a function of tensors, or an `nn.Module` class where it has parameters or state.

    Args:
        name: The name in recipes.
        on: Field of `Features` that the loss is called with (`logits`, `stages`, `embedding`, `semantic`):
            `loss(student, teacher)` with that field of each. None: it gets the two `Features`.
        teacher: False for a supervised loss, called as `loss(student, batch=batch)`, which also trains teachers.
        project: Where the widths of `on` differ, put a learnt linear on the student's side. Relation losses, which
            compare samples with samples, need none and say False.
        all_teachers: The loss takes the list of all teacher branches; otherwise it is called for each and averaged.
        needs: Optional fields of `Features` (`semantic`, `ablated_logits`) or of the `Context` (`label_vectors`) that
            must be there.
        reads: Where `on` is None: the fields of `Features` that it reads; none given means that it may read any.
        batch_order: `invariant` where the value does not depend on the order of the trials in the batch; `kdbench
            check` holds the loss to it.
        compiles: Whether it survives `torch.compile(fullgraph=True)`, which a loss with shapes that depend on values,
            or one that waits for the device, does not.

    A parameter named `batch` receives the `Batch`. A module class receives the `Context` as its parameter `context`
    where it has one, and is built once for each teacher branch, with a context that holds that branch alone (once for
    all where it takes all of them), so that what it learns or remembers belongs to one branch. Other keyword
    parameters come from the recipe.
    """
    declares = {
        "on": on,
        "teacher": teacher,
        "project": project,
        "all_teachers": all_teachers,
        "needs": tuple(needs),
        "reads": tuple(reads),
        "batch_order": batch_order,
        "compiles": compiles,
    }
    return _decorator("loss", name, declares)


def representation(name: str, *, modality: str) -> Callable[[Any], Any]:
    """Declares a representation, an `nn.Module` class: raw `sensors` or `video` to what an encoder eats."""
    return _decorator("representation", name, {"modality": modality})


def encoder(name: str, *, eats: str) -> Callable[[Any], Any]:
    """Declares a four-stage encoder. `eats`: `series`, `image` or `clip`. See `kdbench.encoders.base.Encoder`."""
    return _decorator("encoder", name, {"eats": eats})


def fusion(name: str) -> Callable[[Any], Any]:
    """Declares a fusion of sensor branches. See `kdbench.fusions.base.Fusion`."""
    return _decorator("fusion", name, {})


def semantics(name: str) -> Callable[[Any], Any]:
    """Declares a source of label vectors: a function `(names, *, dataset, **params) -> LabelVectors`."""
    return _decorator("semantics", name, {})
