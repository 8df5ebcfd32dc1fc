"""A program that says what it finds, for tests of how programs are started."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from kdbench.launch.tied import tie
from kdbench.registry import plugin_files


def world() -> dict[str, object]:
    """What may differ from one start to another, and must not."""
    return {
        "arguments": sys.argv[1:],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "path": sys.path,
        "flags": repr(sys.flags),
        "name": __name__,
        "first line": sys.stdin.readline(),
        "leads its group": os.getpgrp() == os.getpid() == os.getsid(0),
        "deaf to": [int(number) for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN],
        "threads": [threading.active_count(), torch.get_num_threads(), torch.get_num_interop_threads()],
        "cuda": torch.cuda.is_initialized(),
        "grad": torch.is_grad_enabled(),
        "plugins": plugin_files(),
        "warnings": [str(entry[:3]) for entry in warnings.filters if "kept" in str(entry)],
        "numpy errors": np.geterr(),
    }


def main() -> None:
    what = sys.argv[1]
    found = world() if what == "world" else {}
    tie()
    if what == "world":
        sys.stdout.write(json.dumps(found))
    elif what == "draws":
        sys.stdout.write(f"{random.random()} {np.random.random()} {torch.rand(1).item()}\n")  # noqa: NPY002
    elif what == "streams":
        sys.stdout.write("printed\n")
        sys.stderr.write("complained\n")
        os.write(1, b"by number\n")
        subprocess.run(["echo", "by a program"], check=True)
    elif what == "python":
        code = sys.argv[2]
        del sys.argv[1:3]
        exec(code, {"__name__": "__main__"})
    elif what == "raise":
        raise ValueError("as asked")
    elif what == "exit":
        sys.exit(int(sys.argv[2]))
    elif what == "signal":
        os.kill(os.getpid(), int(sys.argv[2]))
    elif what == "wait":
        subprocess.Popen(["sleep", "600"])
        sys.stdout.write("waits\n")
        sys.stdout.flush()
        while not Path(sys.argv[2]).exists():
            time.sleep(0.02)
        sys.exit(5)


if __name__ == "__main__":
    main()
