"""A warm process: it imports the libraries once, and forks for every program that it is asked to run.

`kdbench.launch.warm` starts it, with one end of a socket as its standard input. A request is one byte and the files of
`Request`; what becomes of it is written into the last of them, in lines: `began PID` and `leaves CODE` by the fork,
`ended CODE` by the warm process. The warm process has no threads of its own, starts no CUDA, and does nothing but this,
so that a fork is as good as an interpreter of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
from dataclasses import astuple, dataclass
from typing import NoReturn

from kdbench.runs.mirror_store import import_mlflow, is_wanted

LIBRARIES = (
    "kdbench.cli.run",
    "kdbench.runs.run",
    "kdbench.tuning.work",
    "torch._dynamo",
    "sklearn.metrics",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)
"""What takes long to import, and every run needs."""
_REAP_SECONDS = 0.05


@dataclass(frozen=True)
class Request:
    """What a fork is asked to be; the files by their descriptors.

    Attributes:
        wish: Program, environment and working folder, in JSON.
        input: Its standard input, whose end ends it.
        output: Its standard output.
        errors: Its error stream.
        news: Where it says what becomes of it.
    """

    wish: int
    input: int
    output: int
    errors: int
    news: int

    def is_withdrawn(self) -> bool:
        """Whether whoever asked has hung up."""
        line = select.poll()
        line.register(self.input, 0)
        return any(event & select.POLLHUP for _, event in line.poll(0))

    def report(self, what: str, number: int) -> None:
        """Says what becomes of it, to whoever still listens."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.news, f"{what} {number}\n".encode())

    def close(self) -> None:
        """Closes its files here."""
        for file in astuple(self):
            os.close(file)

    def fulfil(self) -> None:
        """Becomes the program, and leaves with its exit code."""
        import numpy as np
        import torch

        # In a session of its own, so that a signal to its group reaches it and what it starts, and nobody else.
        os.setsid()
        for number, stream in enumerate((self.input, self.output, self.errors)):
            os.dup2(stream, number)
            os.close(stream)
        with open(self.wish) as file:  # noqa: PTH123 - a descriptor
            wish = json.load(file)
        # The environment of the warm process is that of no job.
        os.environ.clear()
        os.environ.update(wish["environment"])
        os.chdir(wish["folder"])
        # Else what draws without a seed would draw alike in every fork.
        np.random.seed()  # noqa: NPY002
        torch.default_generator.seed()
        module, *arguments = wish["program"]
        sys.argv[1:] = arguments
        self.report("began", os.getpid())
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            # With a text, the interpreter prints it and leaves with 1.
            if not isinstance(end.code, int):
                raise
            self.report("leaves", end.code)
            _leave(end.code)


def _leave(code: int) -> NoReturn:
    """Leaves as an interpreter does, but for taking its modules apart: that would copy all of the shared memory."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main() -> None:
    """Forks until nobody can ask any more; in a fork, becomes what was asked for."""
    for name in LIBRARIES:
        # Where one cannot be imported, the program that needs it says so.
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    if is_wanted():
        with contextlib.suppress(Exception):
            import_mlflow()
    # A collection would write to every object, and so copy the memory that the forks share.
    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as requests:
        request = _asked(requests)
    if request is not None:
        request.fulfil()


def _asked(requests: socket.socket) -> Request | None:
    """In a fork, what it was asked for; in the warm process None, once nobody can ask any more."""
    forks: dict[int, Request] = {}
    while True:
        _reap(forks)
        if not select.select([requests], [], [], _REAP_SECONDS if forks else None)[0]:
            continue
        _, files, *_ = socket.recv_fds(requests, 1, 5, socket.MSG_CMSG_CLOEXEC)
        if not files:
            return None
        request = Request(*files)
        if request.is_withdrawn():
            request.report("ended", -signal.SIGINT)
            request.close()
            continue
        pid = os.fork()
        # Kept open here, the news of the others would not end when they do.
        if pid == 0:
            for other in forks.values():
                other.close()
            return request
        forks[pid] = request


def _reap(forks: dict[int, Request]) -> None:
    """Says how those ended that have."""
    for pid in list(forks):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            request = forks.pop(pid)
            request.report("ended", os.waitstatus_to_exitcode(status))
            request.close()


if __name__ == "__main__":
    main()
