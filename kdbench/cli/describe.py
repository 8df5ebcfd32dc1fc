"""`kdbench describe`: one part with its parameters, one method as it resolves, or one data set's card."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kdbench import plain_yaml, resources
from kdbench.cli import completion
from kdbench.cli.listing import ORDER
from kdbench.errors import unknown
from kdbench.registry import KINDS, part_of, registry, unknown_anywhere

_GIVEN = {"batch", "context", "dataset", "statistics"}
_Line = tuple[str, str]


def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="A part, method or data set; or the path of a recipe or card.", autocompletion=completion.parts
        ),
    ],
    kind: Annotated[
        str | None, typer.Option(help="Where a name stands for several things: method, dataset, loss, …")
    ] = None,
    preset: Annotated[str, typer.Option(help="Size at which a method is resolved: paper, small, smoke.")] = "small",
) -> None:
    """Explains one part, method or data set."""
    from kdbench.terminal import SafeConsole as Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    found = _kinds_of(name, kind)
    for number, each in enumerate(found):
        if number:
            console.print()
        for text, style in _sections(each, name, preset):
            console.print(text, style=style)


def _sections(kind: str, name: str, preset: str) -> Iterator[_Line]:
    if kind == "method":
        return _method(name, preset)
    return _dataset(name) if kind == "dataset" else _part(kind, name)


def _kinds_of(name: str, kind: str | None) -> list[str]:
    """The kinds in which a name exists; `rkd` is a method and a loss."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return [_kind_of_file(Path(name))]
    if kind is not None:
        singular = {plural: each for each, plural in KINDS.items()}.get(kind, kind)
        if singular not in KINDS:
            raise unknown("kind of part", kind, KINDS)
        registry(singular).origin(name)
        return [singular]
    found = [each for each in sorted(KINDS, key=lambda each: ORDER.index(KINDS[each])) if registry(each).has(name)]
    if not found:
        raise unknown_anywhere(name)
    return found


def _kind_of_file(path: Path) -> str:
    return "dataset" if "reader" in resources.read_mapping(path, "recipe or card") else "method"


def _part(kind: str, name: str) -> Iterator[_Line]:
    component = registry(kind).get(name)
    origin = registry(kind).origin(name)
    yield f"{name} · {kind} · {origin.owner} · {origin.target}", "bold"
    yield f"\n{inspect.getdoc(component) or 'It has no docstring.'}", ""
    declared = part_of(component).declares
    if kind == "fusion":
        declared = {"joint": component.joint, "couples_batch": component.couples_batch}
    if declared:
        facts = "\n".join(f"  {key}: {_plain(value)}" for key, value in declared.items())
        yield f"\nDeclared\n{facts}", ""
    parameters = "\n".join(f"  {line}" for line in _parameters(component))
    yield f"\nParameters in a recipe\n{parameters or '  none'}", ""
    plugin = f" --plugin {shlex.quote(str(origin.file))}" if origin.file else ""
    yield f"\nUse it: {_use(kind, name, declared)}{plugin}", "cyan"


def _owned(kind: str, name: str) -> str:
    """What a heading says of the owner of a recipe or card; nothing of those that kdbench ships."""
    if not registry(kind).has(name) or (origin := registry(kind).origin(name)).built_in:
        return ""
    return f" · {origin.owner}"


def _use(kind: str, name: str, declared: Mapping[str, Any]) -> str:
    """The option that puts the part where it fits."""
    phase = "student" if declared.get("modality") == "video" or declared.get("eats") == "clip" else "teacher"
    key = {"loss": f"student.losses.{name}.weight=1", "semantics": f"semantics.name={name}"}
    return f"--set {key.get(kind, f'{phase}.{kind}.name={name}')}"


def _parameters(component: Any) -> Iterator[str]:
    """The keyword parameters that a recipe may give; what kdbench itself hands over is left out."""
    for parameter in inspect.signature(component).parameters.values():
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        optional = parameter.default is not parameter.empty
        if parameter.name in _GIVEN or not (keyword_only or optional):
            continue
        text = parameter.name
        if parameter.annotation is not parameter.empty:
            held = parameter.annotation
            text += f": {held if isinstance(held, str) else inspect.formatannotation(held)}"
        yield f"{text} = {parameter.default!r}" if optional else f"{text} (required)"


def _method(name: str, preset: str) -> Iterator[_Line]:
    from kdbench.resolution import chain, resolve

    recipe = resolve(name, preset)
    yield f"{recipe.name} · method{_owned('method', name)} · preset {preset}", "bold"
    links = [link for link, _ in chain(name)]
    content = recipe.model_dump(mode="json")
    yield f"\n{content.pop('summary')}\n{content.pop('source')}".rstrip(), ""
    if len(links) > 1:
        yield f"\nExtends, the later over the earlier: {' → '.join(links)}", ""
    del content["name"]
    yield f"\n{_yaml(content)}", ""
    yield f"\nUse it: kdbench run --method {name} --dataset utd_mhad --preset {preset}", "cyan"


def _dataset(name: str) -> Iterator[_Line]:
    from kdbench.data.card import load_card

    card = load_card(name)
    yield f"{card.name} · data set{_owned('dataset', name)} · {card.title}", "bold"
    content = card.model_dump(mode="json", exclude_none=True, exclude={"name", "title"})
    yield f"\n{_yaml({key: value for key, value in content.items() if value not in ('', {}, [])})}", ""
    yield f"\nPrepare it: kdbench data prepare {name}", "cyan"


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "nothing"
    return {None: "nothing", True: "yes", False: "no"}.get(value, str(value))


def _yaml(content: Any) -> str:
    return plain_yaml.dump(content, width=110, default_flow_style=None).rstrip()
