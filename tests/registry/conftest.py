"""A folder of installed distributions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_site import Site, site_of


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder on the import path in which a test installs distributions."""
    with site_of(tmp_path / "site", monkeypatch) as found:
        yield found
