"""What the tests share: where the real recordings and the reference values lie."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from browser import path_of_chromium

# Test processes share the cores; threads that wait for one another would take all of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background has them ignore Ctrl-C, and the commands under test with them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NEEDS = {"data_dir": "KDBENCH_DATA", "goldens_dir": "KDBENCH_GOLDENS"}


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests of the recordings and the reference values where their folder is not named; of a GPU or a browser
    where there is none.
    """
    missing = {fixture for fixture, variable in NEEDS.items() if not os.environ.get(variable)}
    dropped = [item for item in items if missing & set(getattr(item, "fixturenames", ()))]
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu and not _has_gpu():
        dropped += [item for item in on_gpu if item not in dropped]
    if not path_of_chromium():
        dropped += [item for item in items if item.get_closest_marker("browser") and item not in dropped]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts how our values stand to the reference values, from what the golden tests recorded."""
    passed = [report for report in terminalreporter.stats.get("passed", ()) if report.when == "call"]
    found = [value for report in passed for key, value in report.user_properties if key == "golden"]
    if found:
        coming = sorted({state.removeprefix("coming ") for state in found if state.startswith("coming ")})
        terminalreporter.write_line(
            f"golden: {found.count('matched')} matched, {found.count('differs')} differ as documented, "
            f"{len(coming)} families to come ({', '.join(coming)})"
        )


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder that holds `utd_mhad/`."""
    return Path(os.environ["KDBENCH_DATA"])


@pytest.fixture(scope="session")
def goldens_dir() -> Path:
    """Folder that holds `index.json` and its arrays."""
    return Path(os.environ["KDBENCH_GOLDENS"])
