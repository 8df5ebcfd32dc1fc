"""A page for each method, and one of all teachers: made from their recipes as they resolve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kdbench.recipes.assembly import teacher_at
from kdbench.recipes.differences import ABSENT, differences
from kdbench.recipes.layers import layers
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import CONTROLS, PRESETS, Recipe
from kdbench.registry import registry
from kdbench.util import plain_yaml
from pages.prose import equation, head, plain, table

FOLDER = "methods"
TEACHERS = "teachers.md"
_SHOWN = ("small", "smoke", "paper")
_PAPER = "paper"


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of every built-in method, and of the teachers."""
    for name in names():
        yield f"{FOLDER}/{name}.md", page(name)
    yield TEACHERS, teachers()


def names(kind: str = "method") -> list[str]:
    """The built-in methods, or teachers."""
    return sorted(name for name, origin in registry(kind).origins().items() if origin.built_in)


def page(name: str) -> str:
    """The page of one method."""
    recipe = resolve(name, "small")
    parts = [head(name, recipe.summary), f"*{plain(recipe.summary)}.*"]
    if recipe.source:
        parts.append(f"Source: {plain(recipe.source)}")
    parts += [f"This is a control and no method: {CONTROLS[control]}." for control in recipe.controls]
    if recipe.taught_by:
        taught = [f"[`{teacher}`](../{TEACHERS}#{teacher})" for teacher in recipe.taught_by.split("+")]
        learns = "Its teacher is" if len(taught) == 1 else "Its teachers are"
        parts.append(f"{learns} {', '.join(taught)}, unless `--teacher` names another.")
    if losses := table(("loss of the student", "weight", "settings"), _losses(recipe)):
        parts += ["## Losses", losses]
    parts += _lineage(recipe)
    parts += ["## Use", f"    kdbench run --method {name} --dataset utd_mhad"]
    parts += ["## Recipe", "As it resolves, every choice made:"]
    links = [layer.path.stem for layer in layers(name)]
    if len(links) > 1:
        parts.append(f"It extends, the later over the earlier: {' → '.join(f'`{link}`' for link in links)}.")
    parts += [_tab(preset, _content(resolve(name, preset))) for preset in _SHOWN if preset in PRESETS]
    parts += _sizes(_content(resolve(name, _PAPER)), _content(recipe), "##")
    return "\n\n".join(parts) + "\n"


def teachers() -> str:
    """The page of all teachers."""
    parts = [
        "# Teachers",
        "`--teacher NAME` makes any of these the teacher of any method; each is trained once and shared.",
    ]
    for name in names("teacher"):
        settings = layers(name, "teacher")[-1].settings
        words = [plain(str(settings[key])) for key in ("summary", "source") if settings.get(key)]
        parts += [f"## {name}", ". ".join(words) + ".", *_lines(settings)]
        parts.append(_tab("small", teacher_at(name, "small")))
        parts += _sizes(teacher_at(name, _PAPER), teacher_at(name, "small"))
    return "\n\n".join(parts) + "\n"


def _losses(recipe: Recipe) -> Iterator[list[str]]:
    student = recipe.model_dump(mode="json").get("student") or {}
    for name, settings in (student.get("losses") or {}).items():
        linked = f"[`{name}`](../losses/{name}.md)" if _has_page(name) else f"`{name}`"
        rest = {key: value for key, value in settings.items() if key != "weight" and value is not None}
        yield [linked, f"`{settings.get('weight', 1.0)}`", f"`{_flow(rest)}`" if rest else ""]


def _has_page(name: str) -> bool:
    return registry("loss").has(name) and ":" not in name and registry("loss").origin(name).built_in


def _lineage(recipe: Recipe) -> Iterator[str]:
    yield from _lines({"equations": recipe.equations, "deviations": recipe.deviations}, level="##")


def _lines(settings: Mapping[str, Any], level: str = "###") -> Iterator[str]:
    if equations := settings.get("equations"):
        if level == "##":
            yield f"{level} Equations"
        yield from map(equation, equations)
    if deviations := settings.get("deviations"):
        yield f"{level} Not as published, or not published" if level == "##" else "Not as published, or not published:"
        yield "\n".join(f"- {plain(' '.join(str(line).split()))}" for line in deviations)


def _sizes(paper: Mapping[str, Any], small: Mapping[str, Any], level: str = "") -> Iterator[str]:
    """What the preset `small` has otherwise than `paper`, of which sources and deviations speak."""
    rows = [
        [f"`{each.key}`", *(_plain(value) for value in (each.before, each.after))] for each in differences(paper, small)
    ]
    if changed := table(("setting", "paper", "small"), rows):
        yield f"{level} At small, unlike at paper" if level else "At small, unlike at paper:"
        yield changed


def _plain(value: Any) -> str:
    if value is ABSENT:
        return "–"
    return f"`{plain_yaml.dump([value], width=10_000, default_flow_style=True).strip()[1:-1]}`"


def _content(recipe: Recipe) -> dict[str, Any]:
    content = recipe.model_dump(mode="json")
    for key in ("name", "summary", "source"):
        content.pop(key, None)
    if recipe.search:
        content["search"] = {key: values.plain() for key, values in recipe.search.items()}
    return content


def _tab(title: str, content: Mapping[str, Any]) -> str:
    """A recipe in a fold that is closed."""
    text = plain_yaml.dump(dict(content), width=100).strip().replace("\n", "\n    ")
    return f'??? note "{title}"\n\n    ```yaml\n    {text}\n    ```'


def _flow(content: Mapping[str, Any]) -> str:
    return plain_yaml.dump(dict(content), width=10_000, default_flow_style=True).strip().strip("{}")
