"""What the tests share: where the real recordings and the reference values lie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from browser import path_of_chromium
from postgres import programs as programs_of_postgres

# Test processes share the cores; threads that wait for one another would take all of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A store of MLflow takes seconds of every run in a fresh folder; the tests of it switch it on.
os.environ.setdefault("KDBENCH_TRACKING", "off")

# A shell that starts the tests in the background has them ignore Ctrl-C, and the commands under test with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests of a GPU, a browser or a PostgreSQL where there is none, and puts the slow ones first.

    A slow test at the end would leave one process with it, and the other with nothing to do.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    lacking = {"gpu"} if any(item.get_closest_marker("gpu") for item in items) and not _has_gpu() else set()
    lacking |= set() if path_of_chromium() else {"browser"}
    lacking |= set() if programs_of_postgres() else {"postgres"}
    dropped = [item for item in items if any(item.get_closest_marker(marker) for marker in lacking)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts how our values stand to the reference values, from what the golden tests recorded."""
    passed = [report for report in terminalreporter.stats.get("passed", ()) if report.when == "call"]
    found = [value for report in passed for key, value in report.user_properties if key == "golden"]
    if found:
        counts = f"{found.count('matched')} matched, {found.count('differs')} differ as documented"
        terminalreporter.write_line(f"golden: {counts}")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder that holds `utd_mhad/`."""
    return _named("KDBENCH_DATA", "recordings of UTD-MHAD")


@pytest.fixture(scope="session")
def goldens_dir() -> Path:
    """Folder that holds `index.json` and its arrays."""
    return _named("KDBENCH_GOLDENS", "reference values")


def _named(variable: str, what: str) -> Path:
    """The folder that a variable names; without it, the test is skipped and says how to run it."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"${variable} names no folder of {what}: see CONTRIBUTING.md")
    return Path(folder)
