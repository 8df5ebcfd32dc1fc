"""A program on another machine that shares a disk with this one: what its job calls there, and how it is spoken to.

Whoever started the job leaves a word in a file, and the job looks for it. No engine has to pass signals on, which each
does in another way.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

from kdbench.launch.fresh import FreshProcess
from kdbench.launch.launcher import Program, stop
from kdbench.util.files import whole

INTERRUPT, KILL = "interrupt", "kill"
_TICK_SECONDS = 0.2


class RemoteProgram:
    """A program, its log and its letter box, all by their places on the shared disk; it is pickled, and called there.

    Args:
        program: What is run.
        log: Gets what it prints.
        environment: What is added to the environment that the job has.
    """

    def __init__(self, program: Program, log: Path, environment: dict[str, str]) -> None:
        self.program = program
        self.log = log.absolute()
        self.environment = environment
        self.folder = str(Path.cwd())
        self.begins = log.stat().st_size if log.is_file() else 0
        own = f".{self.log.name}.{uuid.uuid4().hex[:8]}"
        self._box = self.log.parent / f"{own}.word"
        self._began = self.log.parent / f"{own}.began"
        self._process: FreshProcess | None = None

    def __getstate__(self) -> dict[str, Any]:
        # It is pickled on its way to the other machine, where it has no process yet.
        return {**self.__dict__, "_process": None}

    def __call__(self) -> int:
        """Runs the program; returns its exit code, negative for a signal."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            process = FreshProcess(self.program, {**os.environ, **self.environment}, output, self.folder)
        self._process = process
        self._began.touch()
        asked = False
        while (code := process.poll()) is None:
            word = self._word()
            if word == KILL:
                process.kill()
            # Once: a second one would cut short how it ends.
            elif word == INTERRUPT and not asked:
                asked = True
                process.interrupt()
            time.sleep(_TICK_SECONDS)
        return code

    def end(self) -> None:
        """There: lets the program keep what it has and end, and kills it where that takes too long."""
        if self._process is not None:
            stop([self._process])

    def _word(self) -> str:
        try:
            return self._box.read_text()
        except OSError:
            return ""

    def tell(self, word: str) -> None:
        """Here: leaves a word for the job, `INTERRUPT` or `KILL`."""
        # Whole, so that the job never reads half a word.
        with whole(self._box, durable=False) as file:
            file.write(word.encode())

    @property
    def has_begun(self) -> bool:
        """Here: whether it runs, or has run."""
        return self._began.exists()

    def forget(self) -> None:
        """Here: removes what was left of the talk with a job that has ended."""
        for path in (self._box, self._began):
            path.unlink(missing_ok=True)

    def printed(self) -> str:
        """Here: what it has printed so far, as far as the disk shows it."""
        try:
            with self.log.open("rb") as file:
                file.seek(self.begins)
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def note(self, text: str) -> None:
        """Here: adds a line to the log, on why there is no exit code of the program's own."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")
