"""Python's collector rests while many records are read, and works again afterwards."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from kdbench.errors import DataError
from kdbench.runs.store import stored_runs
from kdbench.util.collecting import without_collecting


def test_it_rests_inside_and_goes_on_after_an_error() -> None:
    assert gc.isenabled()
    with contextlib.suppress(DataError), without_collecting():
        with without_collecting():
            pass
        assert not gc.isenabled()
        raise DataError("broken")
    assert gc.isenabled()


def test_one_that_the_user_put_to_rest_stays_so(tmp_path: Path) -> None:
    gc.disable()
    try:
        stored_runs(tmp_path)
        assert not gc.isenabled()
    finally:
        gc.enable()
