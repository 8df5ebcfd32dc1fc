"""Which plugins and which files of weights a run uses, as its result writes them down."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kdbench.recipes.layers import files
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.registry import registry
from kdbench.registry.importing import imported_sha256
from kdbench.registry.origin import Origin
from kdbench.util.files import sha256_of

Record = dict[str, Any]
"""`kind`, `name`, `distribution`, `version` and `source_sha256` of a plugin."""


def of_parts(parts: Iterable[tuple[str, str]]) -> list[Record]:
    """The plugins among some parts.

    Args:
        parts: Kind and name of each.
    """
    plugins = []
    for kind, name in dict.fromkeys(parts):
        origin = registry(kind).origin(name)
        if not origin.built_in:
            plugins.append(_record(origin, imported_sha256(origin)))
    return plugins


def parts_of(spec: NetworkSpec) -> Iterator[tuple[str, str]]:
    """Kind and name of every part of a network and of its objective."""
    for kind, part in spec.parts():
        yield kind, part.name
    for name in spec.losses:
        yield "loss", name


def of_method(name_or_path: str) -> list[Record]:
    """The plugins that a recipe, and whatever it extends, come from."""
    used = {path.resolve() for path in files(name_or_path)}
    plugins = []
    for origin in registry("method").origins().values():
        if not origin.built_in and not origin.fault and origin.source is not None:
            path = origin.source.parent / f"{origin.name}.yaml"
            if path.resolve() in used:
                plugins.append(_record(origin, hashlib.sha256(path.read_bytes()).hexdigest()))
    return plugins


def _record(origin: Origin, sha256: str | None) -> Record:
    return {
        "kind": origin.kind,
        "name": origin.name,
        "distribution": origin.distribution,
        "version": origin.version,
        "source_sha256": sha256,
    }


def weights_sha256(spec: NetworkSpec | None) -> str | None:
    """Hash of the file of weights that a recipe names by its path; None for weights that go by a name.

    Several hashes, of the branches in their order, with + between.
    """
    if spec is None:
        return None
    named = [branch.encoder.params.get("weights") for branch in spec.kinds]
    files = [Path(str(name)) for name in named if name not in (None, "random", "pretrained")]
    files += spec.files.values()
    return "+".join(sha256_of(path) for path in files if path.is_file()) or None
