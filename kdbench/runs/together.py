"""One run in several processes: torch's elastic launcher starts them on this machine, watches and ends them.

Each is `python -m kdbench.runs.member` and has a GPU of its own, or none of them has one. The first makes the run; the
others take part in its trainings (`kdbench.network.sharing`). Where one dies, the launcher ends the others, and the run
goes on from its last epoch when it is asked for again, in as many processes as are asked for then: their number is a
condition of a result, and no part of a run's name, since the numbers are equal up to rounding.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from kdbench.errors import DataError, Interrupted, KdbenchError, RunFailed, UsageError
from kdbench.network.sharing import LEAST_ROWS
from kdbench.recipes.schema import Recipe
from kdbench.registry import plugin_files
from kdbench.runs.request import RunRequest
from kdbench.text.redaction import redacted
from kdbench.text.wording import counted

MOST_PROCESSES = 64
GRACE_SECONDS = 45
"""How long a process that is asked to end may take."""
ERRORS: dict[str, type[KdbenchError]] = {
    each.__name__: each for each in (KdbenchError, UsageError, DataError, RunFailed, Interrupted)
}
_ENGINE = "torch.distributed.elastic"
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}


def refuse_unshared(recipe: Recipe, count: int | None, kind: str) -> None:
    """Refuses a number of processes that a run cannot have.

    Args:
        recipe: The method as resolved.
        count: Processes; None for one.
        kind: `cpu` or `cuda`.

    Raises:
        UsageError: No number from 1 to 64; more than there are GPUs, or than the smallest batch has pairs of trials; a
            run that trains nothing; or a compiled network.
    """
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_PROCESSES:
        raise UsageError(
            f"processes is {count!r}, expected a whole number from 1 to {MOST_PROCESSES}",
            hint="One process is enough on a CPU: --processes 1",
        )
    if count == 1:
        return
    trained = {key: spec for key, spec in recipe.by_key.items() if spec.weights is None}
    if not trained:
        raise UsageError(
            f"--processes {count} has no effect: {recipe.title} trains nothing", hint="Leave out what has no effect."
        )
    if recipe.compile:
        raise UsageError(
            f"--processes {count}: a compiled network cannot be shared by processes, which meet within its stages",
            hint="Leave one of the two out: --set compile=false",
        )
    key, spec = min(trained.items(), key=lambda item: item[1].train.batch_size // item[1].train.accumulate)
    rows = spec.train.batch_size // spec.train.accumulate
    if rows < LEAST_ROWS * count:
        parts = f" in {spec.train.accumulate} parts" if spec.train.accumulate > 1 else ""
        raise UsageError(
            f"--processes {count}: {key}.train.batch_size = {spec.train.batch_size}{parts} gives a process less than "
            f"{LEAST_ROWS} trials at a time",
            hint=f"Take at most {max(1, rows // LEAST_ROWS)}, or larger batches, which is another training.",
        )
    there = torch.cuda.device_count() if kind == "cuda" else count
    if there < count:
        raise UsageError(
            f"--processes {count} need a GPU each, and there {'is' if there == 1 else 'are'} {counted(there, 'GPU')}",
            hint=f"Take --processes {there}, or --device cpu.",
        )


def launch(request: RunRequest, count: int, root: Path, *, shown: bool) -> None:
    """Makes a run in processes of this machine and waits for them.

    Args:
        request: The run.
        count: Processes.
        root: Folder of all runs, for messages.
        shown: Whether the first shows its progress on this process's output.

    Raises:
        KdbenchError: What the first process ended with; or RunFailed: one of them ended otherwise.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    again = "Repeat the same command, with as many --processes as you like: it goes on from there."
    with tempfile.TemporaryDirectory(prefix="kdbench-") as folder, _own_environment():
        told = Path(folder) / "error.json"
        asked = {
            "request": dataclasses.asdict(request),
            "plugins": plugin_files(),
            "shown": shown,
            "told": str(told),
            "parent": os.getpid(),
        }
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            # As `torchrun --standalone`: a port that is free, of this machine alone.
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(folder, redirects=dict.fromkeys(range(1, count), Std.ALL)),
            shutdown_timeout=GRACE_SECONDS,
        )
        words = ("-P", "-m", "kdbench.runs.member", json.dumps(asked, default=str))
        try:
            elastic_launch(config, sys.executable)(*words)
        except ChildFailedError as error:
            raise _cause(error.failures, told, folder, count, root, again) from None
        except (SignalException, KeyboardInterrupt) as error:
            what = signal.Signals(error.sigval).name if isinstance(error, SignalException) else "the user"
            raise Interrupted(f"interrupted by {what}; every finished epoch is kept below {root}", hint=again) from None


def _cause(failures: Mapping[int, Any], told: Path, folder: str, count: int, root: Path, again: str) -> KdbenchError:
    """The error that ended the run: what the first process said, or how another one died."""
    said = json.loads(told.read_text()) if told.is_file() else None
    # Where another one is lost to it, the first cannot know why.
    if said is not None and not said["lost"]:
        return ERRORS.get(said["kind"], RunFailed)(said["message"], hint=said["hint"])
    dead = sorted(failures.values(), key=lambda failure: (failure.exitcode >= 0, failure.local_rank == 0))
    first = dead[0]
    how = (
        f"was ended by {signal.Signals(-first.exitcode).name}"
        if first.exitcode < 0
        else (f"ended with exit code {first.exitcode}")
    )
    lines = [line for log in Path(folder).rglob(f"{first.local_rank}/stderr.log") for line in _lines(log)]
    why = f": {redacted(lines[-1])}" if lines and first.local_rank else ""
    return RunFailed(
        f"process {first.local_rank + 1} of {count} {how}{why}; the others were ended, and every finished epoch is "
        f"kept below {root}",
        hint=again,
    )


def _lines(log: Path) -> list[str]:
    return [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """What the processes inherit, and what the launcher changes of this one, put back afterwards."""
    before = dict(os.environ)
    root = str(Path(__file__).parents[2])
    os.environ["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [before.get("PYTHONPATH")])])
    if sys.platform == "linux":
        for name, value in _LOOPBACK.items():
            os.environ.setdefault(name, value)
    # They tell at length what is told here in a line.
    logs = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith(_ENGINE)]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        heard = (getattr(signal, name, None) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"))
        handlers = {number: signal.getsignal(number) for number in heard if number is not None}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
        os.environ.clear()
        os.environ.update(before)
