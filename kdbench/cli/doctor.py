"""`kdbench doctor`: is everything there that a run needs, and what to do where it is not."""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kdbench.cli.listing import ORDER, rows
from kdbench.cli.variables import VARIABLES
from kdbench.errors import KdbenchError
from kdbench.registry import GROUPS, KINDS
from kdbench.registry.discovery import discover
from kdbench.text.redaction import redacted, redacted_words
from kdbench.text.wording import counted
from kdbench.util import paths
from kdbench.util.extras import BENCH, has_bench, installing, lacking
from kdbench.util.failures import one_line

RUNTIMES = ("onnxruntime", "torch", "ai-edge-litert")
"""What runs an exported student, one of which is enough."""
OF_PREDICT, OF_STREAM = ("numpy", "av", "pillow"), ("matplotlib", "starlette", "uvicorn")
LIBRARIES = (
    *("torchvision", "timm", "transformers", "accelerate", "mlflow", "numpy", "scipy", "scikit-learn"),
    *("pandas", "pyarrow", "av", "matplotlib", "safetensors", "pydantic", "onnx", "onnxruntime"),
)
OLDEST_TORCH = (2, 11)
ENOUGH_GIB = 5
_STORE_SECONDS = 5
_WHAT_THEY_DO = "What each does: kdbench --help"
_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        status: `ok`; `warn` where something is not there that some runs need; `fail` where no run can succeed.
        what: What was looked at.
        found: What was found.
        step: The next step; empty where none is needed.
    """

    status: str
    what: str
    found: str
    step: str = ""


def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Folder with recordings; searched first.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the runs; $KDBENCH_HOME or ./runs by default.")] = None,
) -> None:
    """Finding the installation, the data and the folders; exit code 1 if something is broken."""
    from rich.text import Text

    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.text.terminal import print_prose

    console = Console(highlight=False, soft_wrap=True)
    counts = dict.fromkeys(_STYLE, 0)
    for check in checks(data_dir, Path(out or os.environ.get("KDBENCH_HOME") or "runs")):
        counts[check.status] += 1
        mark, style = f"{check.status:<5}", _STYLE[check.status]
        print_prose(console, f"{check.what}: {check.found}", head=mark, head_style=style)
        if check.step:
            console.print(Text(f"     → {check.step}", style="cyan"))
    console.print(f"\n{counts['ok']} ok, {counted(counts['warn'], 'warning')}, {counted(counts['fail'], 'error')}")
    if counts["fail"]:
        raise typer.Exit(1)


def checks(data_dir: Path | None, runs: Path) -> Iterator[Finding]:
    """Makes every check in turn; one that breaks itself is reported and the others go on.

    Args:
        data_dir: What the user gave as `--data-dir`.
        runs: Folder of the runs.
    """
    if not has_bench():
        yield from _light()
        return
    groups: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("software", _software),
        ("environment variables", _environment),
        ("methods and plugins", _parts),
        ("data", lambda: _data(data_dir)),
        ("folders", lambda: _folders(runs)),
        ("prepared data", _prepared),
        ("tracking", lambda: _tracking(runs)),
        ("pretrained weights", _weights),
    )
    for what, group in groups:
        try:
            yield from group()
        except ModuleNotFoundError as error:
            missing = lacking(error, "this check")
            step = missing.hint if missing else "This is unexpected: reinstall kdbench, or report it."
            yield Finding("fail", what, missing.message if missing else one_line(error), step or "")
        except Exception as error:
            yield Finding("fail", what, one_line(error), "This is unexpected: reinstall kdbench, or report it.")


def _light() -> Iterator[Finding]:
    """What an installation holds that asks students, and trains none."""
    yield _python()
    runtimes, _ = _versions(RUNTIMES)
    libraries, missing = _versions(OF_PREDICT)
    good = bool(runtimes) and not missing
    step = "" if good else f"Install what predicts: {installing('predict')}"
    found = ", ".join([*runtimes, *libraries, *(f"{name} is missing" for name in missing)])
    yield Finding("ok" if good else "fail", "kdbench predict", found if runtimes else f"no runtime; {found}", step)
    libraries, missing = _versions(OF_STREAM)
    step = f"For its page and report: {installing('stream')}" if missing else ""
    found = f"without {', '.join(missing)}: no page, no report" if missing else ", ".join(libraries)
    yield Finding("ok", "kdbench stream", found, step)
    step = f"Install all that trains and compares: {installing(BENCH)}"
    yield Finding("ok", "all other commands", "not installed; an exported student needs none of them", step)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    return Finding("ok" if good else "fail", "Python", version, "" if good else "Use Python 3.11 or newer.")


def _software() -> Iterator[Finding]:
    yield _python()
    try:
        import torch
    except ImportError as error:
        yield Finding("fail", "torch", str(error), f"Install it with all that trains: {installing(BENCH)}")
        return
    good = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= OLDEST_TORCH
    oldest = ".".join(map(str, OLDEST_TORCH))
    yield Finding(
        "ok" if good else "fail", "torch", torch.__version__, "" if good else f"pip install 'torch>={oldest}'"
    )
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
        yield Finding("ok", "GPU", ", ".join(names))
    else:
        step = "The presets small and smoke need none; paper is meant for one."
        yield Finding("ok", "GPU", f"none; {counted(torch.get_num_threads(), 'CPU thread')}", step)
    yield from _libraries()


def _libraries() -> Iterator[Finding]:
    installed, missing = _versions(LIBRARIES)
    yield Finding("ok", "libraries", ", ".join(installed))
    if missing:
        yield Finding("fail", "libraries that are missing", ", ".join(missing), f"pip install {' '.join(missing)}")


def _versions(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of some distributions that are installed, with their versions, and those that are not."""
    installed, missing = [], []
    for name in names:
        try:
            installed.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return installed, missing


def _parts() -> Iterator[Finding]:
    counts = {kind: rows(kind) for kind in ORDER}
    whole = bool(counts["methods"] and counts["datasets"])
    yield Finding(
        "ok" if whole else "fail",
        "registered",
        ", ".join(f"{len(known)} {kind}" for kind, known in counts.items()),
        "" if whole else f"Recipes or cards are missing from the installation: {installing(BENCH)}",
    )
    plugins = [f"{row['name']} ({row['origin']})" for known in counts.values() for row in known if _foreign(row)]
    step = "They are not imported here. To see whether they can be: kdbench list --broken" if plugins else ""
    yield Finding("ok", "plugins", ", ".join(plugins) or "none", step)
    known = discover(GROUPS)
    for origin in known.origins:
        if origin.fault:
            name = f"{origin.name} of {KINDS[origin.kind]} ({origin.owner})"
            yield Finding("warn", "broken plugin", f"{name}: {origin.fault}", "Mend or uninstall that distribution.")
    for owner, reason in known.unreadable:
        yield Finding("warn", "broken plugin", f"{owner}: {reason}", "Mend or uninstall that distribution.")


def _environment() -> Iterator[Finding]:
    given = {name: value for name in VARIABLES if (value := os.environ.get(name))}
    for name, value in given.items():
        yield Finding("ok", name, f"{redacted(value)} ({VARIABLES[name].partition(';')[0]})")
    others = [name for name in VARIABLES if name not in given]
    yield Finding(
        "ok", "environment variables that are not set", ", ".join(others) or "none", "What each does: kdbench --help"
    )
    for name in sorted(name for name in os.environ if name.startswith("KDBENCH_") and name not in VARIABLES):
        if near := difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.85):
            yield Finding("warn", name, "is set, and kdbench does not read it", f"Did you mean {near[0]}?")


def _foreign(row: dict[str, str]) -> bool:
    return row["origin"] != "built in"


def _data(data_dir: Path | None) -> Iterator[Finding]:
    from kdbench.data.card import load_card
    from kdbench.data.store import source

    for row in rows("datasets"):
        name = row["name"]
        if _foreign(row):
            # Its reader is code of a plugin.
            yield Finding("ok", f"data set {name}", f"of the plugin {row['origin']}", "Where it is: kdbench data list")
            continue
        try:
            card = load_card(name)
            recordings = source.find(card, data_dir)
        except KdbenchError as error:
            yield Finding("fail", f"data set {name}", error.message, error.hint or "")
            continue
        if recordings is None:
            searched = ", ".join(map(str, source.searched(card, data_dir)))
            step, *_ = source.where_to_get(card).splitlines()
            yield Finding("warn", f"data set {name}", f"not in {searched}", step)
        else:
            kind = "a packed copy in " if recordings.packed else ""
            views = ", ".join(recordings.views) or "no video"
            yield Finding("ok", f"data set {name}", f"{kind}{recordings.place} ({', '.join(card.sensors)}; {views})")


def _prepared() -> Iterator[Finding]:
    from kdbench.data.store import layout

    stores = layout.stores()
    for folder, meta in stores:
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        left_out = f", without {counted(len(meta.excluded), 'broken trial')}" if meta.excluded else ""
        yield Finding("ok", "prepared data", f"{folder.name}, {size / 2**20:.0f} MiB{left_out}")
    if not stores:
        yield Finding("ok", "prepared data", "none yet; the first run prepares what it needs")


def _folders(runs: Path) -> Iterator[Finding]:
    for what, folder, way_out in (
        ("cache folder", paths.cache_dir(), "export KDBENCH_CACHE=FOLDER"),
        ("runs folder", runs.absolute(), "--out FOLDER, or export KDBENCH_HOME=FOLDER"),
    ):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        problem = _not_writable(there)
        if problem:
            yield Finding("fail", what, f"{folder} cannot be written: {problem}", f"Choose another: {way_out}")
            continue
        free = shutil.disk_usage(there).free / 2**30
        yield Finding(
            "ok" if free >= ENOUGH_GIB else "warn",
            what,
            f"{folder} can be written, {free:.0f} GiB free",
            "" if free >= ENOUGH_GIB else f"Free some space, or choose another folder: {way_out}",
        )


def _not_writable(folder: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _tracking(runs: Path) -> Iterator[Finding]:
    from kdbench.runs.mirror_store import OFF, tracking_uri

    if os.environ.get(OFF, "").lower() == "off":
        yield Finding("ok", "MLflow", f"switched off by ${OFF}")
        return
    # An address may hold a password.
    shown = re.sub(r"//[^/]*\*\*\*@", "//", redacted_words([tracking_uri(runs)])[0])
    problem = _unreachable(shown)
    if problem:
        step = f"Runs go on without it. Start the server, unset MLFLOW_TRACKING_URI, or switch it off: export {OFF}=off"
        yield Finding("warn", "MLflow", f"{shown} does not answer: {problem}", step)
    else:
        yield Finding("ok", "MLflow", shown, f"Look at the runs: mlflow ui --backend-store-uri {shown}")


def _unreachable(uri: str) -> str:
    """What is wrong with an MLflow store; empty where it answers, or is a file that the first run will make."""
    import sqlite3
    import urllib.error
    import urllib.request

    try:
        if uri.startswith(("http://", "https://")):
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_STORE_SECONDS):
                return ""
        if uri.startswith("sqlite:///") and (path := Path(uri.removeprefix("sqlite:///"))).exists():
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                database.execute("SELECT count(*) FROM runs").fetchone()
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError, sqlite3.Error) as error:
        return redacted(str(error))
    return ""


def _weights() -> Iterator[Finding]:
    import torch
    from huggingface_hub import try_to_load_from_cache

    from kdbench.encoders import swin, video_swin

    hub = Path(torch.hub.get_dir()) / "checkpoints" / video_swin.KINETICS.url.rpartition("/")[2]
    cached: dict[str, Any] = {
        "swin_t (ImageNet)": try_to_load_from_cache(swin.REPOSITORY, swin.FILE),
        "video_swin_t (Kinetics-400)": str(hub) if hub.is_file() else None,
        "bert-base-uncased": try_to_load_from_cache("bert-base-uncased", "model.safetensors"),
    }
    for name, path in cached.items():
        if isinstance(path, str):
            yield Finding("ok", f"weights of {name}", path)
        else:
            step = "The preset paper fetches them; where there is no network it says where to put them."
            yield Finding("warn", f"weights of {name}", "not cached", step)
