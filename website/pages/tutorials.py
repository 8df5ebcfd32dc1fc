"""The tutorials: Python files with text, run when the site is built, and shown with what they printed."""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from filelock import FileLock
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "docs/tutorials"
FOLDER = "tutorials"
SECONDS = 600
"""A cell that takes longer hangs. On a machine with nothing else to do none takes a tenth of it, which a test holds."""


def pages() -> Iterator[tuple[str, str]]:
    """Path and Markdown of each tutorial."""
    for source in sources():
        yield f"{FOLDER}/{source.stem}.md", _shown(source)[0]


def pictures() -> Iterator[tuple[str, bytes]]:
    """Path and content of the pictures that the tutorials show."""
    for source in sources():
        for name, content in _shown(source)[1].items():
            yield f"{FOLDER}/{name}", content


def sources() -> list[Path]:
    """The tutorials' files, in order."""
    return sorted(SOURCES.glob("*.py"))


@cache
def _shown(source: Path) -> tuple[str, dict[str, bytes]]:
    """A tutorial as Markdown, and its pictures by name."""
    resources: dict[str, Any] = {"unique_key": source.stem, "output_files_dir": "."}
    text, made = MarkdownExporter().from_notebook_node(executed(source), resources=resources)
    named = {Path(name).name: content for name, content in (made.get("outputs") or {}).items()}
    return text, named


def executed(source: Path) -> nbformat.NotebookNode:
    """The notebook of a tutorial with its output; run once for each state of its text and of kdbench.

    Args:
        source: Its file.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised an error.
    """
    kept = cache() / f"{source.stem}-{_state(source)}.ipynb"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if kept.is_file():
            return nbformat.read(kept, as_version=4)
        notebook = jupytext.read(source, fmt="py:percent")
        with tempfile.TemporaryDirectory(prefix="kdbench-tutorial-") as folder:
            environment = {**os.environ, "KDBENCH_TRACKING": "off"}
            # Runs go to ./runs, below the folder that is removed, and no path of the machine comes onto a page.
            environment.pop("KDBENCH_HOME", None)
            # Cells of the shell call the `kdbench` that these pages are about, whatever else is installed.
            environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
            # Kernels ask commands for colours, which would be codes on a page.
            environment["TTY_COMPATIBLE"] = "0"
            # tqdm, which a library of ours imports, would say so in the first cell.
            environment["PYTHONWARNINGS"] = "ignore:IProgress not found"
            environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            client = NotebookClient(
                notebook, timeout=SECONDS, resources={"metadata": {"path": folder}}, coalesce_streams=True
            )
            client.create_kernel_manager()
            kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            client.km.kernel_cmd = [*kernel, "--IPKernelApp.log_level=40"]
            client.execute(env=environment)
        aside = kept.with_suffix(".new")
        nbformat.write(notebook, aside)
        aside.replace(kept)
        return notebook


def cache() -> Path:
    """Where executed tutorials are kept."""
    return Path(os.environ.get("KDBENCH_TUTORIALS") or ROOT / "build/tutorials")


def _state(source: Path) -> str:
    """A hash of all that its output depends on, but for the libraries."""
    digest = hashlib.sha256(source.read_bytes())
    rooms = ("kdbench", "methods", "datasets", "examples")
    for path in sorted(path for folder in rooms for path in (ROOT / folder).rglob("*")):
        if path.suffix in (".py", ".yaml", ".csv"):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
