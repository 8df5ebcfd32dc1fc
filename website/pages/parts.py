"""A page for each other kind of part, and one of the data sets' cards."""

from __future__ import annotations

from collections.abc import Iterator

from kdbench.data.card import load_card
from kdbench.registry import KINDS, part_of, registry
from kdbench.util import plain_yaml
from pages.prose import given, paragraphs, parameters, plain, table, text_of

FOLDER = "parts"
COMPONENTS = ("representation", "encoder", "pooling", "fusion", "semantics")
_SAID = {
    "representation": "What a network's branch sees of the raw input.",
    "encoder": "The backbone of a branch: a network in stages.",
    "pooling": "What makes the embedding of the steps that an encoder gives.",
    "fusion": "What joins the branches of a network.",
    "semantics": "Where the vectors of the names of the classes come from.",
}


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of each kind, and of the data sets."""
    for kind in COMPONENTS:
        yield path_of(kind), _kind(kind)
    yield path_of("dataset"), _datasets()


def path_of(kind: str) -> str:
    """The page of a kind."""
    return f"{FOLDER}/{KINDS[kind]}.md"


def _kind(kind: str) -> str:
    plural = KINDS[kind]
    blocks = [f"# {plural.capitalize()}", _SAID[kind]]
    families = registry(kind).families()
    if families:
        names = ", ".join(f"`{prefix}:NAME`" for prefix in families)
        blocks.append(f"Besides those below, {names}: `kdbench list {plural}` tells what NAME may be.")
    for name, origin in sorted(registry(kind).origins().items()):
        if not origin.built_in:
            continue
        component = registry(kind).get(name)
        blocks += [f"## {name}", *paragraphs(text_of(component))]
        blocks += [content for content in (given(component), parameters(component)) if content]
        declared = {key: value for key, value in part_of(component).declares.items() if value not in (None, (), [], "")}
        if declared:
            blocks.append("Declared: " + ", ".join(f"{key} `{value}`" for key, value in declared.items()) + ".")
    return "\n\n".join(blocks) + "\n"


def _datasets() -> str:
    blocks = ["# Data sets", "Their cards as they are shipped. [Data](../data.md) says how to get the recordings."]
    for name in sorted(registry("dataset").names()):
        card = load_card(name)
        blocks += [f"## {name}", f"{card.title}."]
        rows = [[f"`{protocol}`", plain(rule.title)] for protocol, rule in card.protocols.items()]
        blocks.append(table(("protocol", "what it is"), rows))
        text = plain_yaml.dump(card.model_dump(mode="json", exclude_none=True), width=100).strip()
        blocks.append('??? note "card.yaml"\n\n    ```yaml\n    ' + text.replace("\n", "\n    ") + "\n    ```")
    return "\n\n".join(blocks) + "\n"
