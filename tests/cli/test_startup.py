"""The command line starts quickly, and its errors are one line, one hint and the documented exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from kdbench import __version__
from kdbench.cli import COMMANDS
from kdbench.data.card import load_card
from kdbench.errors import DataError, Interrupted, RunFailed, UsageError
from kdbench.registry import registry

HEAVY = ("torch", "numpy", "pandas", "mlflow", "transformers", "sklearn", "matplotlib", "scipy", "timm")


# What a command line of typer and rich, and a reader of YAML models, cannot do without.
LIBRARIES = "import typer.main, rich.console, rich.table, pydantic, yaml"


def _processor_seconds(*arguments: str) -> float:
    """Processor time of a call of Python; unlike wall time it does not depend on what else the machine does."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


# Measured: 1.6 times for --help, 2.3 times for list; torch alone would be ten times.
@pytest.mark.slow
@pytest.mark.parametrize(("command", "most"), [("--help", 2.5), ("list", 4.5)])
def test_a_command_that_trains_nothing_costs_little_more_than_its_libraries(command: str, most: float) -> None:
    pairs = [(_processor_seconds("-m", "kdbench", command), _processor_seconds("-c", LIBRARIES)) for _ in range(3)]
    own, libraries = (min(each) for each in zip(*pairs, strict=True))
    assert own < most * libraries


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["--version"], ["export", "no-such-run"], ["explain", "no-such-run"]]
)
def test_no_heavy_library_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys, kdbench.cli\n"
        f"try: kdbench.cli.main({arguments!r})\n"
        f"except SystemExit: print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_help_names_every_command_with_its_line(kdbench: Callable[..., Any]) -> None:
    done = kdbench("--help")
    assert done.code == 0
    for name, (_, summary) in COMMANDS.items():
        assert name in done.out
        assert summary in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_of_its_own(command: str, kdbench: Callable[..., Any]) -> None:
    done = kdbench(command, "-h")
    assert done.code == 0
    assert f"kdbench {command}" in done.out


def test_version(kdbench: Callable[..., Any]) -> None:
    assert kdbench("--version").out == f"kdbench {__version__}\n"


@pytest.mark.parametrize("arguments", [["lst"], ["list", "--colour"], ["describe"]])
def test_a_wrong_call_leaves_with_2(arguments: list[str], kdbench: Callable[..., Any]) -> None:
    done = kdbench(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert done.err


def test_a_misspelt_command_gets_the_near_miss(kdbench: Callable[..., Any]) -> None:
    assert "'list'" in kdbench("lst").err


def _break(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: str) -> list[dict[str, str]]:
        raise error

    monkeypatch.setattr("kdbench.cli.listing.rows", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailed("NaN in step 3", hint="Lower the rate."), 1),
        (UsageError("no such loss", hint="Lower the rate."), 2),
        (DataError("trial a1 [0] is broken", hint="Lower the rate."), 3),
        (Interrupted("interrupted", hint="Lower the rate."), 130),
    ],
)
def test_our_errors_are_a_line_a_hint_and_a_code(
    error: Any, code: int, kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch, error)
    done = kdbench("list", "losses")
    assert done.code == code
    assert done.out == ""
    assert done.err == f"error: {error.message}\nLower the rate.\n"


def test_an_unexpected_error_is_one_line_and_the_way_to_see_more(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch, ZeroDivisionError("by [bold]zero"))
    done = kdbench("list", "losses")
    assert done.code == 1
    first, second = done.err.splitlines()
    assert first.startswith("error: ZeroDivisionError: by [bold]zero (test_startup.py, line ")
    assert "--debug" in second


@pytest.mark.parametrize("arguments", [["--debug", "list", "losses"], ["list", "losses", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(
    arguments: list[str], kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch, UsageError("no such loss"))
    done = kdbench(*arguments)
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.endswith("error: no such loss\n")


def test_an_interrupt_leaves_with_130_and_no_traceback(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _break(monkeypatch, KeyboardInterrupt())
    done = kdbench("list", "losses")
    assert done.code == 130
    assert done.err == "error: interrupted\n"


def test_a_long_path_is_not_broken_over_lines(
    kdbench_process: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "a/very/long/path" * 10 + "/recipe.yaml"
    assert path in kdbench_process("describe", path).err


def test_a_closed_pipe_is_no_error() -> None:
    command = f"'{sys.executable}' -m kdbench list | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "methods" in done.stdout
    assert done.stderr == ""


def test_the_help_of_run_names_every_view_of_the_shipped_data_sets(kdbench: Callable[..., Any]) -> None:
    text = " ".join(kdbench("run", "--help").out.replace("│", " ").split())
    said = text.partition("--video")[2].partition("--seed")[0]
    views = {view for name in registry("dataset").names() for view in load_card(name).views}
    assert views >= {"rgb", "depth", "skeleton"}
    assert [view for view in sorted(views) if view not in said] == []


@pytest.mark.parametrize("arguments", [["run", "{}"], ["{}"], ["compare", "--metric", "{}"]])
def test_a_command_that_cannot_be_read_is_quoted_without_its_passwords(
    kdbench: Callable[..., Any], arguments: list[str]
) -> None:
    done = kdbench("--debug", *(word.format("postgresql://me:pa/ss@wordy@host/name") for word in arguments))
    assert done.code == 2
    assert "wordy" not in done.out + done.err
