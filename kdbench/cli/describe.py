"""`kdbench describe`: one part with its parameters, one method as it resolves, or one data set's card."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion
from kdbench.cli.listing import ORDER, SUITES
from kdbench.errors import unknown
from kdbench.grid.suite import shipped
from kdbench.recipes import shipped as methods
from kdbench.registry import KINDS, part_of, registry, unknown_anywhere
from kdbench.runs.naming import label_of
from kdbench.text.wording import counted
from kdbench.util import paths, plain_yaml
from kdbench.util.validation import known_keys

if TYPE_CHECKING:
    from kdbench.data.card import Card

SUITE = "suite"
_CARD = "card.yaml"
_DATASET = "utd_mhad"
_GIVEN = {"batch", "context", "dataset", "statistics"}
_Line = tuple[str, str]


def describe(
    name: Annotated[
        str,
        typer.Argument(
            help="A component, method, data set or suite; or the path of a recipe, card or suite.",
            autocompletion=completion.parts,
        ),
    ],
    kind: Annotated[
        str | None, typer.Option(help="The kind, where a name has several: method, dataset, suite, loss, …")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="The preset at which a method is shown: paper, small or smoke.")
    ] = "small",
) -> None:
    """Describes a component with its parameters, a method with its settings, a data set, or a suite."""
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.text.terminal import print_prose

    console = Console(highlight=False, markup=False)
    found = _kinds_of(name, kind)
    for number, each in enumerate(found):
        if number:
            console.print()
        for text, style in _sections(each, name, preset):
            print_prose(console, text, style)


def _sections(kind: str, name: str, preset: str) -> Iterator[_Line]:
    if kind == "method":
        return _method(name, preset)
    if kind == SUITE:
        return _suite(name)
    return _dataset(name) if kind == "dataset" else _part(kind, name)


def _kinds_of(name: str, kind: str | None) -> list[str]:
    """The kinds in which a name exists; `rkd` is a method and a loss."""
    if name in methods.tuned():
        return ["method"]
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return [_kind_of_file(Path(name))]
    if kind is not None:
        singular = ({plural: each for each, plural in KINDS.items()} | {SUITES: SUITE}).get(kind, kind)
        if singular == SUITE:
            return [SUITE]
        if singular not in KINDS:
            raise unknown("kind of part", kind, (*KINDS, SUITE))
        registry(singular).origin(name)
        return [singular]
    found = [each for each in sorted(KINDS, key=lambda each: ORDER.index(KINDS[each])) if registry(each).has(name)]
    if name in shipped():
        found.append(SUITE)
    if not found:
        raise unknown_anywhere(name, shipped())
    return found


def _kind_of_file(path: Path) -> str:
    """What a file is meant to be, by its name, else by most of its keys: a broken one is told its own faults."""
    from kdbench.data.card import Card
    from kdbench.grid.suite import Suite
    from kdbench.recipes.schema import Recipe

    if path.name == _CARD:
        return "dataset"
    content = paths.read_mapping(path, "recipe, card or suite")
    own = {
        "method": {*known_keys(Recipe, ()), "extends"},
        "dataset": {*known_keys(Card, ())},
        SUITE: {*known_keys(Suite, ())},
    }
    return max(own, key=lambda kind: len(own[kind].intersection(content)))


def _part(kind: str, name: str) -> Iterator[_Line]:
    component = registry(kind).get(name)
    origin = registry(kind).origin(name)
    yield f"{name} · {kind} · {origin.owner} · {origin.target}", "bold"
    yield f"\n{inspect.getdoc(component) or 'It has no docstring.'}", ""
    declared = {"takes" if key == "eats" else key: value for key, value in part_of(component).declares.items()}
    if kind == "fusion":
        declared = {"joint": component.joint, "couples_batch": component.couples_batch}
    if kind == "loss":
        from kdbench.engine.term import reads_labels

        declared["labels"] = reads_labels(name) or "not said, so that no track with few labels takes it"
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
    phase = "student" if declared.get("modality") == "video" or declared.get("takes") == "clip" else "teacher"
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
    from kdbench.recipes.resolve import chain, resolve

    recipe = resolve(name, preset)
    shown = label_of(recipe.name, tuned=recipe.tuning is not None)
    yield f"{shown} · method{_owned('method', name)} · preset {preset}", "bold"
    links = [link for link, _ in chain(name)]
    content = recipe.model_dump(mode="json")
    yield f"\n{content.pop('summary')}\n{content.pop('source')}".rstrip(), ""
    if len(links) > 1:
        yield f"\nExtends, the later over the earlier: {' → '.join(links)}", ""
    del content["name"]
    if recipe.search:
        content["search"] = {key: values.plain() for key, values in recipe.search.items()}
    if recipe.tuning is not None:
        content["tuning"] = recipe.tuning.model_dump(mode="json")
    yield f"\n{_yaml(content)}", ""
    dataset = (recipe.tuning.under or {}).get("dataset", _DATASET) if recipe.tuning else _DATASET
    yield f"\nUse it: kdbench run --method {shlex.quote(name)} --dataset {dataset} --preset {preset}", "cyan"


def _dataset(name: str) -> Iterator[_Line]:
    from kdbench.data.card import load_card

    card = load_card(name)
    yield f"{card.name} · data set{_owned('dataset', name)} · {card.title}", "bold"
    content = card.model_dump(mode="json", exclude_none=True, exclude={"name", "title"})
    yield f"\n{_yaml({key: value for key, value in content.items() if value not in ('', {}, [])})}", ""
    tracks = "\n".join(f"  {option}\n    {text}" for option, text in _tracks(card))
    yield f"\nTracks: what the student is given of the training part; never ranked together\n{tracks}", ""
    yield f"\nPrepare it: kdbench data prepare {card.typed}", "cyan"


def _tracks(card: Card) -> Iterator[_Line]:
    """The options that choose a track, each with what it means on a data set."""
    from kdbench.data.card import SUBJECT

    yield "--labels all (default)", "The student sees the label of every training trial, and the teacher does too."
    if card.trials is not None and SUBJECT not in card.trials.columns:
        yield "--labels K", f"Not here: the trials do not say who performs them (a column '{SUBJECT}' would)."
    else:
        yield (
            "--labels K",
            "The student sees the labels of K trials of each class, all of one subject first, then of the next; the "
            "seed draws the order. The other trials are pairs of video and sensors without a label.",
        )
        yield "--labels K --teacher-labels same", "The teacher learns from these labels, too; by default from all."
    yield (
        "--labels 0",
        "Transfer alone: the student sees no label, and distillation losses are all that trains. Reported by probes of "
        "its frozen embedding, fitted on the training part with all labels: multinomial logistic regression (the main "
        "numbers) and a cosine 5-NN; and by its own logits where a loss trains them. Gains are over `untrained`.",
    )
    if not card.views:
        yield "--pairs SHARE", "Not here: there is no video, which would be what trials without sensors leave."
    else:
        yield (
            "--pairs SHARE",
            "This share of the training trials of each class has sensors; the others are video with a label.",
        )


def _suite(name: str) -> Iterator[_Line]:
    from kdbench.grid.suite import load_suite

    suite = load_suite(name)
    yield f"{Path(name).stem} · suite · {counted(suite.cell_count, 'run')}", "bold"
    content = suite.model_dump(mode="json", exclude_defaults=True)
    if summary := content.pop("summary", ""):
        yield f"\n{summary}", ""
    content["methods"] = [_in_suite(method) for method in content["methods"]]
    yield f"\n{_yaml(content)}", ""
    yield f"\nUse it: kdbench run --suite {shlex.quote(name)} --dry-run", "cyan"


def _in_suite(method: Mapping[str, Any]) -> Any:
    return method["name"] if set(method) == {"name"} else dict(method)


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or "nothing"
    return {None: "nothing", True: "yes", False: "no"}.get(value, str(value))


def _yaml(content: Any) -> str:
    return plain_yaml.dump(content, width=110, default_flow_style=None).rstrip()
