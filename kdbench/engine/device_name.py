"""The names of devices, for who must not load torch to know them."""

from __future__ import annotations

from kdbench.errors import unknown

DEVICES = ("auto", "cpu", "cuda")


def check_device_name(device: str) -> None:
    """Checks the name of a device, not whether there is one.

    Raises:
        UsageError: Another name than `auto`, `cpu` or `cuda`.
    """
    if device not in DEVICES:
        raise unknown("device", device, DEVICES, hint="Leave --device out: it takes a GPU where there is one.")
