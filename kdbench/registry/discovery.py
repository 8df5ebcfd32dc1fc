"""The plugins that are installed: entry points of kdbench's groups, read without importing any of them."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import Distribution
from pathlib import Path

from kdbench.errors import near_misses, shortened, unknown
from kdbench.registry.notice import once
from kdbench.registry.origin import Origin, normalised

VARIABLE = "KDBENCH_PLUGINS"
PREFIX = "kdbench."
ALL = {"", "all", "on", "1"}
NONE = {"none", "off", "0"}
_VALUE = re.compile(r"[\w.]+(\s*:\s*[\w.]+)?\s*(\[.*\])?")


@dataclass(frozen=True)
class Discovery:
    """What the installed distributions bring.

    Attributes:
        origins: Every part, recipe and data set that may be used.
        left_out: Those that `$KDBENCH_PLUGINS` leaves out.
        unreadable: Distributions whose metadata cannot be read, each with the reason.
    """

    origins: tuple[Origin, ...] = ()
    left_out: tuple[Origin, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


_latest: tuple[object, Discovery] | None = None


def discover(groups: Mapping[str, str]) -> Discovery:
    """Reads the entry points of all installed distributions; one that cannot be read costs a line and is left out.

    What was found is kept until a folder of the import path or the variable changes. What failed is tried again.

    Args:
        groups: The kind of part by the name of its entry-point group.

    Raises:
        UsageError: `$KDBENCH_PLUGINS` names a distribution that is not there.
    """
    global _latest
    wanted = os.environ.get(VARIABLE, "").strip()
    # What is installed or removed meanwhile changes the time of its folder.
    key = (wanted, tuple((folder, _changed(folder)) for folder in sys.path))
    if _latest is None or _latest[0] != key:
        importlib.invalidate_caches()
        discovery = _allowed(_read_all(groups), wanted)
        for owner, reason in discovery.unreadable:
            once(f"warning: the plugins of {owner} are left out: {reason}")
        # What could not be read is tried again at the next call.
        _latest = None if discovery.unreadable else (key, discovery)
        return discovery
    return _latest[1]


def _changed(folder: str) -> int:
    try:
        return _as_path(folder).stat().st_mtime_ns
    except OSError:
        return 0


@functools.lru_cache(maxsize=256)
def _as_path(folder: str) -> Path:
    # To make a path takes longer than to look at it, and every name that is looked up looks at all of them.
    return Path(folder or ".")


def _read_all(groups: Mapping[str, str]) -> Discovery:
    origins: list[Origin] = []
    unreadable: list[tuple[str, str]] = []
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions():
        name, version = _of_folder(distribution)
        if normalised(name) in seen:
            # Another of this name stands before it on the import path.
            continue
        seen.add(normalised(name))
        try:
            # Most distributions have no such groups, and a look at the text is cheaper than parsing it.
            if PREFIX in (distribution.read_text("entry_points.txt") or ""):
                origins += _origins(distribution, *_name_and_version(distribution), groups)
        except Exception as error:
            # Damaged metadata make the standard library raise whatever the damage leads to.
            reason = f"entry_points.txt cannot be read ({type(error).__name__}: {error})"
            unreadable.append((f"{name} {version}".strip(), reason))
    return Discovery(tuple(origins), (), tuple(unreadable))


def _origins(distribution: Distribution, name: str, version: str, groups: Mapping[str, str]) -> list[Origin]:
    claimed: dict[tuple[str, str], list[Origin]] = defaultdict(list)
    for point in distribution.entry_points:
        if point.group in groups:
            origin = Origin(groups[point.group], point.name, point.value.partition("[")[0].strip(), name, version)
            claimed[origin.kind, origin.name].append(replace(origin, fault=_fault(origin, point.value)))
        elif point.group.startswith(PREFIX):
            miss = f"unknown entry-point group '{shortened(point.group)}'{near_misses(point.group, groups)}"
            once(f"warning: in the metadata of {name} {version}: {miss}")
    for claims in claimed.values():
        if len(claims) > 1:
            targets = " and ".join(claim.target for claim in claims)
            claims[:] = [replace(claims[0], fault=f"{name} registers this name more than once: {targets}")]
    return [claims[0] for claims in claimed.values()]


def _fault(origin: Origin, value: str) -> str:
    is_recipe = origin.kind in ("method", "teacher")
    if not re.fullmatch(r"[\w-]+", origin.name):
        return f"its name is '{origin.name}', expected letters, digits, '-' and '_'"
    if not _VALUE.fullmatch(value.strip()) or (not is_recipe and ":" not in origin.target):
        return f"its entry point is '{value}', expected {'a module' if is_recipe else 'module:attribute'}"
    return ""


def _allowed(discovery: Discovery, wanted: str) -> Discovery:
    if wanted.lower() in ALL:
        return discovery
    present = {normalised(origin.distribution) for origin in discovery.origins}
    known = present | {normalised(owner.partition(" ")[0]) for owner, _ in discovery.unreadable}
    given = [] if wanted.lower() in NONE else [name.strip() for name in wanted.split(",") if name.strip()]
    for name in given:
        if normalised(name) not in known:
            hint = "It is a comma-separated list of installed distributions, or off, or all"
            hint += "." if known else "; none with plugins is installed here."
            if name.endswith(".py"):
                hint = "It lists installed distributions; a file is given by --plugin FILE."
            raise unknown(f"plugin in ${VARIABLE}", name, known, hint=hint)
    names = {normalised(name) for name in given}
    kept = tuple(origin for origin in discovery.origins if normalised(origin.distribution) in names)
    return Discovery(kept, tuple(o for o in discovery.origins if o not in kept), discovery.unreadable if names else ())


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    name, version = _of_folder(distribution)
    try:
        # Without the file, versions of the library give None, raise, or give an empty message.
        names, versions = (distribution.metadata.get_all(key) for key in ("Name", "Version"))
    except (AttributeError, OSError):
        names = versions = None
    return (names or [name])[0], (versions or [version or "of unknown version"])[0]


def _of_folder(distribution: Distribution) -> tuple[str, str]:
    """Name and version as the metadata's folder is called, for metadata that do not say."""
    stem = Path(str(getattr(distribution, "_path", distribution))).stem
    name, _, version = stem.partition("-")
    # The folder of an egg ends with the version of Python.
    return name, version.partition("-py")[0]
