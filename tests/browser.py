"""A headless Chromium of the system, for the tests that are marked `browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def path_of_chromium() -> str | None:
    """The program: `$KDBENCH_CHROMIUM`, or the first of the usual names that is there."""
    return os.environ.get("KDBENCH_CHROMIUM") or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Runs it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path_of_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()
