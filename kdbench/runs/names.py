"""Names that a user gives, checked in a second: before torch is loaded, and before anything is read or prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kdbench.data.card import load_card
from kdbench.data.splits import rule_of
from kdbench.engine.device_name import check_device_name
from kdbench.errors import UsageError, unknown
from kdbench.recipes.assembly import teacher_at
from kdbench.recipes.resolve import NO_TEACHER, resolve
from kdbench.recipes.schema import PRESETS, Recipe
from kdbench.registry import registry
from kdbench.runs import provenance
from kdbench.text.wording import counted


def check_names(
    methods: Sequence[str],
    datasets: Sequence[str],
    protocols: Sequence[str] = (),
    *,
    teachers: Sequence[str] = (),
    preset: str | None = None,
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> None:
    """Checks everything that a command names; imports no part.

    Args:
        methods: Names of recipes, or paths of YAML files.
        datasets: Names of data sets, or paths of cards.
        protocols: Names of protocols, which each data set must have.
        teachers: Names of teachers, or paths of YAML files, or `none`; methods that have none do without.
        preset: Name of a preset; None and `auto` leave it open.
        device: Name of a device.
        overrides: Changes of the only method, `a.b.c=value`; those of several are spread among them elsewhere.

    Raises:
        UsageError: Something that does not exist, each with its near misses; several are listed together.
    """
    wrong = list(_wrong(methods, datasets, protocols, teachers, preset, device, overrides))
    if len(wrong) == 1:
        raise wrong[0]
    if wrong:
        lines = "".join(f"\n  {error.message}" for error in wrong)
        hints = dict.fromkeys(error.hint for error in wrong if error.hint)
        raise UsageError(f"{counted(len(wrong), 'problem')} with what is named:{lines}", hint="\n".join(hints))


def _wrong(
    methods: Sequence[str],
    datasets: Sequence[str],
    protocols: Sequence[str],
    teachers: Sequence[str],
    preset: str | None,
    device: str,
    overrides: Sequence[str],
) -> Iterator[UsageError]:
    size = PRESETS[1]
    if preset not in (None, "auto", *PRESETS):
        yield unknown(
            "preset", str(preset), ("auto", *PRESETS), hint="Leave --preset out: it takes what fits this computer."
        )
    elif preset not in (None, "auto"):
        size = str(preset)
    try:
        check_device_name(device)
    except UsageError as error:
        yield error
    changes = overrides if len(methods) == 1 else ()
    teacher = teachers[0] if len(teachers) == len(methods) == 1 else None
    for name_of_teacher in (name for name in teachers if name != NO_TEACHER):
        try:
            teacher_at(name_of_teacher, size)
        except UsageError as error:
            yield error
            teacher = None
    for method in methods:
        try:
            yield from _unknown_parts(resolve(method, size, changes, teacher=teacher))
        except UsageError as error:
            yield error
    for dataset in datasets:
        try:
            card = load_card(dataset)
            for protocol in protocols:
                rule_of(card, protocol)
        except UsageError as error:
            yield error


def _unknown_parts(recipe: Recipe) -> Iterator[UsageError]:
    """What a recipe names and no registry has."""
    named = [("semantics", recipe.semantics.name)]
    for spec in recipe.networks:
        named += provenance.parts_of(spec)
    for kind, name in dict.fromkeys(named):
        if not registry(kind).has(name):
            yield registry(kind).unknown(name)
