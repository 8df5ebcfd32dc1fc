"""`kdbench describe`: one part with its parameters, one method as it resolves, or one data set's card."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import completion, docstring, lineage
from kdbench.cli.listing import ORDER, SUITES
from kdbench.cli.yaml_lines import as_yaml
from kdbench.errors import unknown
from kdbench.grid.suite import shipped_suites
from kdbench.recipes import shipped
from kdbench.recipes.systems import published_line
from kdbench.recipes.titles import with_titles
from kdbench.registry import KINDS, part_of, registry, unknown_anywhere
from kdbench.runs.naming import label_of
from kdbench.text.wording import counted
from kdbench.util import paths
from kdbench.util.validation import known_keys

if TYPE_CHECKING:
    from kdbench.data.card import Card

SUITE = "suite"
_CARD = "card.yaml"
_DATASET = "utd_mhad"
_GIVEN = {"batch", "context", "dataset", "skeleton", "skeletons", "statistics"}
_NOTHING = "nothing"
PAPER = "paper"
_PIPE = 110
"""Width of YAML where there is no terminal."""
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
    """Describe a component with its parameters, a method with its settings, a data set, or a suite."""
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.text.terminal import print_prose

    console = Console(highlight=False, markup=False)
    width = console.width if console.is_terminal else _PIPE
    kinds = _kinds_of(name, kind)
    for number, meant in enumerate(kinds):
        if number:
            console.print()
        for text, style in _sections(meant, name, preset, width):
            print_prose(console, text, style, hang=2)


def _sections(kind: str, name: str, preset: str, width: int) -> Iterator[_Line]:
    if kind == "method":
        return _method(name, preset, width)
    if kind == "teacher":
        return _teacher(name, preset, width)
    if kind == SUITE:
        return _suite(name, width)
    return _dataset(name, width) if kind == "dataset" else _part(kind, name)


def _kinds_of(name: str, kind: str | None) -> list[str]:
    """The kinds in which a name exists; `rkd` is a method and a loss."""
    if kind is None and name in shipped.tuned():
        return ["method"]
    if kind in (None, "method", "methods") and shipped.behind(name):
        others = [listed for listed in KINDS if kind is None and registry(listed).has(name)]
        return ["method", *sorted(others, key=lambda listed: ORDER.index(KINDS[listed]))]
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        return [_kind_of_file(Path(name))]
    if kind is not None:
        singular = ({plural: listed for listed, plural in KINDS.items()} | {SUITES: SUITE}).get(kind, kind)
        if singular == SUITE:
            return [SUITE]
        if singular not in KINDS:
            raise unknown("kind of part", kind, (*KINDS, SUITE), hint="See what there is of each kind: kdbench list")
        registry(singular).origin(name)
        return [singular]
    kinds = [
        listed for listed in sorted(KINDS, key=lambda listed: ORDER.index(KINDS[listed])) if registry(listed).has(name)
    ]
    if name in shipped_suites():
        kinds.append(SUITE)
    if not kinds:
        raise with_titles(unknown_anywhere(name, shipped_suites()), name)
    return kinds


def _kind_of_file(path: Path) -> str:
    """What a file is meant to be, by its name, else by most of its keys: a broken one is told its own faults."""
    from kdbench.data.card import Card
    from kdbench.grid.suite import Suite
    from kdbench.recipes.kinds import recipe_kind
    from kdbench.recipes.network_spec import NetworkSpec
    from kdbench.recipes.schema import Recipe

    if path.name == _CARD:
        return "dataset"
    content = paths.read_mapping(path, "recipe, card or suite")
    own = {
        recipe_kind(content): {*known_keys(Recipe, ()), *known_keys(NetworkSpec, ()), "extends"},
        "dataset": {*known_keys(Card, ())},
        SUITE: {*known_keys(Suite, ())},
    }
    return max(own, key=lambda kind: len(own[kind].intersection(content)))


def _part(kind: str, name: str) -> Iterator[_Line]:
    component = registry(kind).get(name)
    origin = registry(kind).origin(name)
    yield f"{name} · {kind} · {origin.owner} · {origin.target}", "bold"
    text = inspect.getdoc(component) or "It has no docstring."
    yield "\n" + "\n\n".join(docstring.prose(text)), ""
    explained = docstring.arguments(text)
    parameters = dict(_parameters(component))
    if kind == "launcher":
        from kdbench.launch.launcher import GIVEN

        parameters = {key: text for key, text in parameters.items() if key not in GIVEN}
        explained = {key: text for key, text in explained.items() if key not in GIVEN}
    if given := {key: words for key, words in explained.items() if key not in parameters}:
        yield f"\nTakes\n{_entries(given)}", ""
    shown = {f"{key}{default}": explained.get(key, "") for key, default in parameters.items()}
    where = "Options" if kind == "launcher" else "Parameters in a recipe"
    yield f"\n{where}\n{_entries(shown, ' · ') or '  none'}", ""
    declared = {"takes" if key == "eats" else key: value for key, value in part_of(component).declares.items()}
    if kind == "fusion":
        declared = {"joins": component.joins, "joint": component.joint, "couples_batch": component.couples_batch}
    if kind == "loss":
        from kdbench.engine.declared import reads_labels

        declared["labels"] = reads_labels(name) or "not said, so that no track with few labels takes it"
    if declared:
        facts = " · ".join(f"{key}: {_plain(value)}" for key, value in declared.items() if _plain(value) != _NOTHING)
        yield f"\nDeclared\n  {facts}", ""
    plugin = f" --plugin {shlex.quote(str(origin.file))}" if origin.file else ""
    yield f"\nUse it: {_use(kind, name, declared)}{plugin}", "cyan"


def _entries(words: Mapping[str, str], between: str = ": ") -> str:
    """A line for each name, with what there is to say of it."""
    return "\n".join(f"  {key}{between if text else ''}{text}" for key, text in words.items())


def _owned(kind: str, name: str) -> str:
    """What a heading says of the owner of a recipe or card; nothing of those that kdbench ships."""
    if not registry(kind).has(name) or (origin := registry(kind).origin(name)).built_in:
        return ""
    return f" · {origin.owner}"


def _use(kind: str, name: str, declared: Mapping[str, Any]) -> str:
    """The option that puts the part where it fits."""
    if kind == "launcher":
        return f"kdbench run --suite smoke --jobs 2 --launcher {name}"
    phase = "student" if declared.get("modality") == "video" or declared.get("takes") == "clip" else "teacher"
    key = {"loss": f"student.losses.{name}.weight=1", "semantics": f"semantics.name={name}"}
    return f"--set {key.get(kind, f'{phase}.{kind}.name={name}')}"


def _parameters(component: Any) -> Iterator[tuple[str, str]]:
    """The keyword parameters that a recipe may give, each with its type and default as one reads them behind its name.

    What kdbench itself hands over is left out.
    """
    for parameter in inspect.signature(component).parameters.values():
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        optional = parameter.default is not parameter.empty
        if parameter.name in _GIVEN or not (keyword_only or optional):
            continue
        text = ""
        if parameter.annotation is not parameter.empty:
            annotation = parameter.annotation
            text += f": {annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)}"
        yield parameter.name, f"{text} = {parameter.default!r}" if optional else f"{text} (required)"


def _method(name: str, preset: str, width: int) -> Iterator[_Line]:
    from kdbench.recipes.layers import layers
    from kdbench.recipes.resolve import resolve

    recipe = resolve(name, preset)
    shown = label_of(recipe.method, tuned=recipe.tuning is not None)
    yield f"{shown} · method{_owned('method', name)} · preset {preset}", "bold"
    if pair := shipped.behind(name):
        with_it = f" with the teacher {pair.teacher}" if pair.teacher else ""
        yield f"{name} is a former name of {pair.method}{with_it}", "dim"
    if line := published_line(name):
        yield line, ""
    links = [layer.path.stem for layer in layers(recipe.method if pair else name)]
    content = recipe.model_dump(mode="json")
    yield f"\n{content.pop('summary')}\n{content.pop('source')}".rstrip(), ""
    yield from lineage.lineage({"equations": recipe.equations, "deviations": recipe.deviations})
    yield from lineage.elsewhere(recipe.method if pair else name, recipe)
    if recipe.taught_by is not None and not pair:
        yield f"\nIts teacher is {recipe.taught_by}, unless --teacher names another.", ""
    if len(links) > 1:
        yield f"\nExtends, the later over the earlier: {' → '.join(links)}", ""
    del content["name"]
    paper = lineage.settings_of(resolve(name, PAPER))
    yield from lineage.against_paper(paper, lineage.settings_of(recipe), preset, width)
    if recipe.search:
        content["search"] = {key: values.plain() for key, values in recipe.search.items()}
    if recipe.tuning is not None:
        content["tuning"] = recipe.tuning.model_dump(mode="json")
    yield f"\n{as_yaml(content, width)}", ""
    dataset = (recipe.tuning.under or {}).get("dataset", _DATASET) if recipe.tuning else _DATASET
    taught = f" --teacher {pair.teacher}" if pair and pair.teacher else ""
    shown = shlex.quote(pair.method if pair else name)
    track = " --labels 0" if recipe.student is not None and recipe.student.is_untrained else ""
    yield f"\nUse it: kdbench run --method {shown}{taught} --dataset {dataset} --preset {preset}{track}", "cyan"


def _teacher(name: str, preset: str, width: int) -> Iterator[_Line]:
    from kdbench.recipes.assembly import teacher_at
    from kdbench.recipes.layers import layers

    yield f"{name} · teacher{_owned('teacher', name)} · preset {preset}", "bold"
    if line := published_line(name):
        yield line, ""
    chain = layers(name, "teacher")
    words = [str(chain[-1].settings.get(key, "")) for key in ("summary", "source")]
    if any(words):
        yield "\n" + "\n".join(filter(None, words)), ""
    yield from lineage.lineage(chain[-1].settings)
    if len(chain) > 1:
        yield f"\nExtends, the later over the earlier: {' → '.join(layer.path.stem for layer in chain)}", ""
    network = teacher_at(name, preset)
    yield from lineage.against_paper(teacher_at(name, PAPER), network, preset, width)
    yield f"\n{as_yaml(network, width)}", ""
    use = f"kdbench run --method kd --teacher {shlex.quote(name)} --dataset {_DATASET} --preset {preset}"
    yield f"\nUse it: {use}", "cyan"


def _dataset(name: str, width: int) -> Iterator[_Line]:
    from kdbench.data.card import load_card

    card = load_card(name)
    yield f"{card.name} · data set{_owned('dataset', name)} · {card.title}", "bold"
    content = card.model_dump(mode="json", exclude_none=True, exclude={"name", "title"})
    yield f"\n{as_yaml(_without_empty(content), width)}", ""
    tracks = "\n".join(f"  {option}\n    {text}" for option, text in _tracks(card))
    yield f"\nTracks: what the student is given of the training part; never ranked together\n{tracks}", ""
    yield f"\nPrepare it: kdbench data prepare {card.typed}", "cyan"


def _without_empty(content: Any) -> Any:
    """What a card says, without what it leaves empty."""
    if isinstance(content, list):
        return [_without_empty(entry) for entry in content]
    if not isinstance(content, Mapping):
        return content
    return {key: _without_empty(value) for key, value in content.items() if value not in ("", {}, [])}


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


def _suite(name: str, width: int) -> Iterator[_Line]:
    from kdbench.grid.suite import load_suite

    suite = load_suite(name)
    yield f"{Path(name).stem} · suite · {counted(suite.run_count, 'run')}", "bold"
    content = suite.model_dump(mode="json", exclude_defaults=True)
    if summary := content.pop("summary", ""):
        yield f"\n{summary}", ""
    content["methods"] = [_in_suite(method) for method in content["methods"]]
    yield f"\n{as_yaml(content, width)}", ""
    track = " --labels 1" if suite.names_track else ""
    yield f"\nUse it: kdbench run --suite {shlex.quote(name)}{track} --dry-run", "cyan"
    if suite.systems:
        yield "Then, one ranking of all: kdbench compare --systems", "cyan"


def _in_suite(method: Mapping[str, Any]) -> Any:
    return method["name"] if set(method) == {"name"} else dict(method)


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or _NOTHING
    return {None: _NOTHING, True: "yes", False: "no"}.get(value, str(value))
