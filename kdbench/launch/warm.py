"""A warm process, from this side: `kdbench.launch.forks`, which forks a process for each program."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from kdbench.launch import tied
from kdbench.launch.launcher import Program

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds") and sys.platform != "darwin"
"""Whether there are warm processes here; on macOS, what the system's own libraries have set up breaks in a fork."""
_SIGKILL = 9
"""By its number, since not every platform has its name."""
_KILL_SECONDS = 10
_TICK_SECONDS = 0.01


class WarmProcess:
    """A process that imports the libraries once; it is fresh, and takes over nothing that this one has done.

    Args:
        environment: What the libraries find when they are imported.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._requests, theirs = socket.socketpair()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "kdbench.launch.forks"],
                stdin=theirs.fileno(),
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )

    def fork(
        self, program: Program, environment: Mapping[str, str], output: BinaryIO, errors: BinaryIO | None = None
    ) -> ForkedProcess:
        """Asks for a process; it starts as soon as the libraries are there.

        Args:
            program: What it runs.
            environment: All of its variables.
            output: Gets what it prints.
            errors: Gets what it prints on its error stream; `output` by default.
        """
        asked = {
            "program": [program.module, *program.arguments],
            "environment": {**environment, tied.ASKED: "1"},
            "folder": str(Path.cwd()),
        }
        (its_input, input_end), (news_end, its_news) = os.pipe(), os.pipe()
        try:
            with tempfile.TemporaryFile("w+") as request, contextlib.suppress(BrokenPipeError, ConnectionResetError):
                json.dump(asked, request)
                request.seek(0)
                streams = [its_input, output.fileno(), (errors or output).fileno()]
                # A dead process takes none: the end of its news is all that comes.
                socket.send_fds(self._requests, [b"!"], [request.fileno(), *streams, its_news])
        finally:
            os.close(its_input)
            os.close(its_news)
        return ForkedProcess(input_end, news_end, program.text)

    def ending(self) -> str | None:
        """How it ended, in words; None while it lives."""
        code = self._process.poll()
        if code is None:
            return None
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        return ", ".join([f"exit code {code}" if code >= 0 else f"signal {-code}", *lines[-1:]])

    def close(self) -> None:
        """Lets it end; what it has forked goes on."""
        self._requests.close()
        if self._process.poll() is None:
            # It may be in the midst of its imports.
            self._process.kill()
        self._process.wait()
        self._output.close()


class ForkedProcess:
    """A process of a warm one.

    Args:
        input_end: The writing end of its standard input, which it ends with.
        news_end: Where it and the warm process write what becomes of it.
        text: What it finds on its standard input.

    Attributes:
        pid: Its number, once it runs.
        never_began: Whether the warm process died before it came to it.
    """

    def __init__(self, input_end: int, news_end: int, text: str) -> None:
        self.pid: int | None = None
        self.never_began = False
        self._input = open(input_end, "wb", buffering=0)  # noqa: SIM115 - as long as the process
        self._news = open(news_end, "rb", buffering=0)  # noqa: SIM115
        # `poll` must not wait for news.
        os.set_blocking(news_end, False)
        self._code: int | None = None
        # One that says nothing before it is gone was killed.
        self._own_word = -_SIGKILL
        with contextlib.suppress(BrokenPipeError):
            self._input.write(text.encode())

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        while self._code is None and (news := self._news.read(4096)) is not None:
            for line in news.decode().splitlines():
                what, _, number = line.partition(" ")
                if what == "began":
                    self.pid = int(number)
                elif what == "leaves":
                    self._own_word = int(number)
                else:
                    self._code = int(number)
            if not news:
                # Nobody is there any more to tell how it ended but itself.
                self.never_began = self.pid is None and not self._input.closed
                self._code = self._own_word
        if self._code is not None:
            self._input.close()
            self._news.close()
        return self._code

    def interrupt(self) -> None:
        """Asks it to keep what it has and to end; without its number yet, by the end of its input."""
        if self.poll() is None:
            if self.pid is None:
                self._input.close()
            else:
                self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends it at once; with it go the processes that it started."""
        self._input.close()
        if self.poll() is None and self.pid is not None:
            self._signal(_SIGKILL)
            deadline = time.monotonic() + _KILL_SECONDS
            while self.poll() is None and time.monotonic() < deadline:
                time.sleep(_TICK_SECONDS)

    def _signal(self, number: int) -> None:
        assert self.pid is not None
        with contextlib.suppress(ProcessLookupError):
            if number == _SIGKILL:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
