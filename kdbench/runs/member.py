"""One of the processes that make a run together: `python -m kdbench.runs.member REQUEST`, as `together` starts them.

The first makes the run as one process would. Before each of its trainings it tells the others which one that is; they
build the same and run it with it, write nothing and show nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch.distributed as dist

from kdbench.errors import Interrupted, KdbenchError
from kdbench.network.sharing import Processes
from kdbench.registry.file import loaded
from kdbench.runs.context import RunContext, context_for
from kdbench.runs.request import RunRequest
from kdbench.runs.run import run_request
from kdbench.runs.student import student_training
from kdbench.runs.teacher import begun_teacher, reopened_teacher
from kdbench.runs.together import GRACE_SECONDS
from kdbench.text.terminal import console
from kdbench.util.progress import Reporter, reporter_for

_PATHS = ("data_dir", "out")
_TICK_SECONDS = 1.0


def main(asked: dict[str, Any]) -> int:
    """Takes part in a run; returns the exit code."""
    processes = Processes(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    given = asked["request"]
    request = RunRequest(**{**given, **{key: Path(given[key]) for key in _PATHS if given[key] is not None}})
    # What the run says it was made by.
    sys.argv[1:] = ["run", *request.words()]
    threading.Thread(target=_watch, args=(asked["parent"],), daemon=True, name="watch").start()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The others end with the first: it keeps what there is to keep.
        signal.signal(number, _interrupt if processes.leads else signal.SIG_IGN)
    with loaded(asked["plugins"]) if asked["plugins"] else contextlib.nullcontext():
        if processes.leads:
            return _lead(request, processes, Path(asked["told"]), shown=asked["shown"])
        return _follow(request, processes)


def _lead(request: RunRequest, processes: Processes, told: Path, *, shown: bool) -> int:
    reporter = reporter_for(console()) if shown else Reporter()
    try:
        run_request(request, reporter, shown=shown, processes=processes)
    except (KdbenchError, KeyboardInterrupt) as error:
        error = error if isinstance(error, KdbenchError) else Interrupted("interrupted")
        lost = isinstance(error, Interrupted) or getattr(error, "lost", False)
        said = {"kind": type(error).__name__, "message": error.message, "hint": error.hint, "lost": lost}
        told.write_text(json.dumps(said))
        return error.exit_code
    dist.destroy_process_group()
    return 0


def _follow(request: RunRequest, processes: Processes) -> int:
    context = context_for(request, shown=False, processes=processes)
    with contextlib.suppress(KdbenchError):
        while task := json.loads(processes.tell(None, context.accelerator.device)):
            _training(context, request.root / "teachers", task)
        dist.destroy_process_group()
        return 0
    # What ends a training ends it in all of them, and the first says it.
    return 1


def _training(context: RunContext, teachers: Path, task: dict[str, Any]) -> None:
    """Takes part in one training; of a checkpoint it knows what the first process tells."""
    spec = context.run_spec
    nowhere = Path(os.devnull)
    if task["phase"] == "teacher":
        begun_teacher(context, spec.teacher_parts[task["part"]], nowhere).run()
        return
    assert spec.recipe.student is not None
    made = [reopened_teacher(context, teachers, part) for part in spec.teacher_parts]
    student_training(context, spec.recipe.student, made, nowhere).run()


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt(signal.Signals(number).name)


def _watch(parent: int) -> None:
    """Ends this process where the one that started it has ended, however that ended."""
    while os.getppid() == parent:
        time.sleep(_TICK_SECONDS)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    # 128 + SIGINT, as shells have it.
    os._exit(130)


def _leave(code: int) -> NoReturn:
    """Leaves; after an error at once, since an engine whose processes have gone is waited for at an ordinary end."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if code:
        os._exit(code)
    sys.exit(0)


if __name__ == "__main__":
    _leave(main(json.loads(sys.argv[1])))
