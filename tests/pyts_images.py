"""The imaging classes of pyts, as plain Python: compiling them takes a minute of each process that imports them."""

from __future__ import annotations

import os

import pytest

with pytest.MonkeyPatch.context() as patch:
    # Read where numba is imported, and of numba's users here pyts alone is one.
    patch.setitem(os.environ, "NUMBA_DISABLE_JIT", "1")
    from pyts.image import GramianAngularField, MarkovTransitionField, RecurrencePlot

__all__ = ["GramianAngularField", "MarkovTransitionField", "RecurrencePlot"]
