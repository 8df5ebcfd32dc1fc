"""Kills a command just before one of its file operations: the moments at which a crash can leave something half done.

    operations = survey(["run", "--method", …, "--out", "runs"], below=folder, log=log)   # names of all, in order
    killed = kill(["run", …], at=7, below=folder, log=log)                                # True: it died before the 7th

A file operation is a file opened for writing, a file or folder made, renamed or removed, below `below`. Commands run in
forks, so a kill costs what the command itself costs.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from forked import fork, fork_jobs, wait

from kdbench.launch.launcher import Program
from kdbench.launch.tied import tie

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Positions of the paths among an audit event's arguments, and of the folder's descriptors that they may be relative to.
_EVENTS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.rename": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.rmdir": ((0, 1),),
    "os.link": ((1, 3),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "sqlite3.connect": ((0, None),),
}


def survey(arguments: Sequence[str], *, below: Path, log: Path, seconds: float = 300) -> list[str]:
    """Runs a command to its end and lists its file operations, `event path`, in order.

    Args:
        arguments: What follows `kdbench`; or `-c` and Python code.
        below: Only operations below this folder count.
        log: Gets what the command prints.
        seconds: It is an error if the command takes longer.
    """
    listing = log.with_suffix(".operations")
    code = _run(arguments, None, below, log, listing, seconds)
    assert code == 0, f"exit code {code}: {log.read_text(errors='replace')[-2000:]}"
    return listing.read_text().splitlines()


def kill(arguments: Sequence[str], *, at: int, below: Path, log: Path, seconds: float = 300) -> bool:
    """Runs a command and kills it just before its file operation number `at`, from 0.

    Returns:
        True if it was killed, False if it ended before, with exit code 0.
    """
    code = _run(arguments, at, below, log, None, seconds)
    if log_file := os.environ.get("KDBENCH_KILL_LOG"):
        with Path(log_file).open("a") as file:
            file.write(f"{arguments[0]}\n")
    assert code in (0, -signal.SIGKILL), f"exit code {code}: {log.read_text(errors='replace')[-2000:]}"
    return code == -signal.SIGKILL


def lost_by_kills(
    command: Callable[[Path], Sequence[str]], outcome: Callable[[Path], object], folder: Path, *, few: int
) -> list[str]:
    """Kills a command at some of its file operations, repeats it, and lists where it does not end as if nothing was.

    Args:
        command: Its arguments, for a folder of runs.
        outcome: What a folder of runs has come to.
        folder: Where all of it happens.
        few: At how many operations, unless $KDBENCH_EVERY_KILL is set.
    """
    whole, log = folder / "whole", folder / "log"
    operations = survey(command(whole), below=whole, log=log)
    assert len(operations) > few
    expected = outcome(whole)
    lost = []
    for at in sampled(len(operations), few):
        out = folder / "killed"
        kill(command(out), at=at, below=out, log=log)
        survey(command(out), below=out, log=log)
        if outcome(out) != expected:
            lost.append(f"{at}: {operations[at]}: {outcome(out)}")
        if left := [path for path in out.rglob("*") if ".tmp" in path.name]:
            lost.append(f"{at}: {operations[at]}: left {left}")
        shutil.rmtree(out)
    return lost


def sampled(count: int, most: int) -> Sequence[int]:
    """At most `most` of the numbers 0 … count − 1, evenly spread, with both ends; all if $KDBENCH_EVERY_KILL is set."""
    if os.environ.get("KDBENCH_EVERY_KILL"):
        return range(count)
    return sorted({round(k * (count - 1) / max(1, most - 1)) for k in range(min(count, most))})


def _run(arguments: Sequence[str], at: int | None, below: Path, log: Path, listing: Path | None, seconds: float) -> int:
    words = [str(below), "" if at is None else str(at), str(listing or ""), *arguments]
    with log.open("wb") as output:
        return wait(fork(Program("killing", tuple(words)), output), seconds)


def main() -> None:
    """Runs a command, watched, in a fork."""
    below, at, listing, *arguments = sys.argv[1:]
    sys.argv[1:] = arguments
    tie()
    fork_jobs()
    operations = _watch(int(at) if at else None, Path(os.path.realpath(below)))
    from kdbench.cli import main as kdbench

    try:
        if arguments[0] == "-c":
            exec(arguments[1], {})
        else:
            kdbench(arguments)
    finally:
        if listing:
            Path(listing).write_text("\n".join(operations))


def _watch(at: int | None, below: Path) -> list[str]:
    """Lists the process's file operations from now on, and kills it before number `at`."""
    operations: list[str] = []
    home, process = os.fspath(below) + os.sep, os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # A process that was forked from this one has operations of its own.
        if os.getpid() != process:
            return
        hit = next((path for path in _written(event, arguments) if path.startswith(home)), None)
        if hit is None:
            return
        if len(operations) == at:
            os.kill(process, signal.SIGKILL)
        operations.append(f"{event} {hit.removeprefix(home)}")

    sys.addaudithook(hook)
    return operations


def _written(event: str, arguments: tuple[Any, ...]) -> Iterator[str]:
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, int) or not (flags & _WRITES if isinstance(flags, int) else set(mode or "") & set("wax+")):
            return
        yield _absolute(path, None)
    for position, folder in _EVENTS.get(event, ()):
        path = arguments[position]
        if not isinstance(path, int):
            yield _absolute(path, None if folder is None else arguments[folder])


def _absolute(path: Any, folder: Any) -> str:
    """A path without `.` and `..`, as text; its links stay, since an operation on a link is one on the link."""
    base = Path(f"/proc/self/fd/{folder}").readlink() if isinstance(folder, int) and folder >= 0 else Path.cwd()
    return os.path.normpath(base / os.fsdecode(path))


if __name__ == "__main__":
    main()
