"""What a run ran on."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from kdbench.runs import libraries
from kdbench.text.redaction import redacted_words


def environment(device: Any) -> dict[str, Any]:
    """The machine and the software, as far as they explain a figure; no host name, no user, no path."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "libraries": libraries.installed(),
        "platform": f"{platform.system()} {platform.machine()}",
        # The CPU of one of several processes is numbered, and is the same.
        "device": "cpu" if device.type == "cpu" else str(device),
        "gpu": gpu,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "command": ["kdbench", *redacted_words(sys.argv[1:])],
    }
