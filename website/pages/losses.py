"""A page for each loss: its docstring with the formula, its parameters, the methods that train with it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from kdbench.engine.declared import reads_labels
from kdbench.recipes.resolve import resolve
from kdbench.registry import part_of, registry
from pages.prose import given, head, mathematical, paragraphs, parameters, prose, table, text_of

FOLDER = "losses"
PRESET = "small"


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of every built-in loss."""
    users = used_by()
    for name in names():
        yield f"{FOLDER}/{name}.md", page(name, users[name])


def names() -> list[str]:
    """The built-in losses."""
    return sorted(name for name, origin in registry("loss").origins().items() if origin.built_in)


def used_by() -> dict[str, list[str]]:
    """The methods whose student trains with each loss."""
    users: dict[str, list[str]] = defaultdict(list)
    for method in registry("method").names():
        recipe = resolve(method, PRESET)
        for loss in recipe.student.losses if recipe.student else ():
            users[loss].append(method)
    return users


def page(name: str, users: list[str]) -> str:
    """The page of one loss.

    Args:
        name: Its name.
        users: Methods that train with it.
    """
    component = registry("loss").get(name)
    text = text_of(component)
    first, *rest = paragraphs(text)
    parts = [head(name, prose(text)[0]), f"*{first}*", *rest]
    for heading, content in (("Given", given(component)), ("Parameters in a recipe", parameters(component))):
        if content:
            parts += [f"## {heading}", content]
    parts += ["## Declared", table(("", ""), _declared(name))]
    # What one method alone trains with may fit no other student.
    chosen = name if name in users else users[0] if len(users) == 1 else f"kd --set student.losses.{name}.weight=1"
    parts += ["## Use", f"    kdbench run --dataset utd_mhad --method {chosen}"]
    if users:
        links = ", ".join(f"[`{method}`](../methods/{method}.md)" for method in users)
        parts.append(f"Methods that train with it: {links}.")
    module = registry("loss").origin(name).target.partition(":")[0].replace(".", "/")
    parts.append(f"Its source is `{module}.py`; `kdbench describe {name}` shows this page in a terminal.")
    return "\n\n".join(parts) + "\n"


def _declared(name: str) -> Iterator[list[str]]:
    words = {None: "nothing", True: "yes", False: "no"}
    for key, value in part_of(registry("loss").get(name)).declares.items():
        said = ", ".join(map(str, value)) if isinstance(value, tuple | list) else words.get(value, str(value))
        if said not in ("", "nothing"):
            yield [key, mathematical(f"`{said}`")]
    yield ["reads labels", f"`{reads_labels(name) or 'not said'}`"]
