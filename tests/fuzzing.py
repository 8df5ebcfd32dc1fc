"""How much the tests with made-up inputs try: the same few inputs each time, or many new ones with $KDBENCH_FUZZ."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("KDBENCH_FUZZ", "1"))


def fuzz(examples: int, **more: Any) -> settings:
    """Settings of a test that tries this many inputs, times $KDBENCH_FUZZ.

    Args:
        examples: Inputs by default.
        more: Other settings of hypothesis.
    """
    return settings(
        max_examples=examples * FACTOR,
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
