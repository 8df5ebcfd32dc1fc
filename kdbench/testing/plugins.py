"""Finds broken plugins: each is imported in a process of its own, which may crash, hang and print."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from kdbench.errors import KdbenchError
from kdbench.registry import registry
from kdbench.registry.importing import said
from kdbench.registry.origin import THIS_PROCESS, Origin

SECONDS = 60.0
"""How long a plugin may take to import."""
_GRACE = 30.0
SOUND = "sound"
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from kdbench.testing import plugins; "
    "plugins.report(*sys.argv[2:])"
)


@dataclass(frozen=True)
class Broken:
    """A plugin that cannot be used.

    Attributes:
        origin: Where it comes from.
        text: The traceback, or what else is known.
    """

    origin: Origin
    text: str


def broken(origins: Iterable[Origin], *, seconds: float = SECONDS) -> list[Broken]:
    """Imports plugins, several at a time, and returns those that fail, in the order given.

    Args:
        origins: The plugins; what is built in or came from a file is passed over.
        seconds: How long each may take.
    """
    installed = [o for o in origins if not o.built_in and o.file is None and o.distribution != THIS_PROCESS]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        texts = pool.map(lambda origin: origin.fault or _text(origin, seconds), installed)
        return [Broken(origin, text) for origin, text in zip(installed, texts, strict=True) if text]


def report(origin: str, seconds: str, file: str) -> None:
    """What the other process does: it writes the traceback into a file, or `sound`, and ends at once.

    Args:
        origin: The fields of the `Origin`, as JSON.
        seconds: After this long the stack is written as it is then.
        file: Where to write.
    """
    with Path(file).open("w", encoding="utf-8") as stream:
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=stream)
        text = _complaint(Origin(**json.loads(origin)))
        faulthandler.cancel_dump_traceback_later()
        stream.write(text or SOUND)
    # Threads that the plugin started would keep the process.
    os._exit(0)


def _text(origin: Origin, seconds: float) -> str:
    """What is wrong with a plugin, seen from outside of its process; empty where nothing is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "report")
        arguments = [json.dumps(sys.path), json.dumps(dataclasses.asdict(origin)), str(seconds), str(file)]
        command, none = [sys.executable, "-c", _PROGRAM, *arguments], subprocess.DEVNULL
        code, timeout = None, seconds + _GRACE
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(command, check=False, timeout=timeout, stdin=none, stdout=none, stderr=none)
            code = done.returncode
        written = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    if written == SOUND:
        return ""
    if written.startswith("Timeout") or code is None:
        stack = written.partition("\n")[2].rstrip()
        return f"it was still being imported after {seconds:g} s:\n{stack}".rstrip(":\n ")
    return written.rstrip() or f"its import ended the process with exit code {code}"


def _complaint(origin: Origin) -> str:
    """What using a plugin raises; empty where it raises nothing."""
    try:
        if origin.kind in ("method", "teacher"):
            from kdbench.recipes import assembly, resolve, shipped

            read = assembly.teacher_at if origin.kind == "teacher" else resolve.resolve
            read(str(shipped.file_of(origin)), "small")
        else:
            registry(origin.kind).load(origin)
        if origin.kind == "dataset":
            from kdbench.data.card import card_of, load_card

            load_card(card_of(origin))
    except KdbenchError as error:
        cause = error.__cause__
        if cause is None or not error.message.endswith(said(cause)):
            return str(error)
        return "".join(traceback.format_exception(cause.with_traceback(_of_plugin(cause.__traceback__))))
    return ""


def _of_plugin(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the plugin's own first line on."""
    ours = (str(Path(__file__).parents[1]), str(Path(importlib.__file__).parent), "<frozen importlib")
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    return trace
