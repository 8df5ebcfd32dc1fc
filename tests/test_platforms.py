"""What the package needs of a platform: nothing that Windows does not have is touched by an import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import kdbench

# Names that Windows lacks, taken away before anything is imported; other packages have their own ways around them.
WITHOUT = """
import importlib, os, signal, subprocess, sys
import filelock, rich.console
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM", "pthread_kill", "alarm", "setitimer"):
    delattr(signal, name)
for name in ("fork", "killpg", "getpgrp", "setsid", "getuid", "sched_getaffinity"):
    delattr(os, name)
for name in ("fcntl", "resource", "termios", "pwd", "grp"):
    sys.modules[name] = None
import kdbench
"""
ALL = "import torch, optuna, mlflow, matplotlib.pyplot, sklearn.metrics, rich.live, psutil, transformers, timm\n"
IMPORTS = """
import pkgutil
failed = []
for module in pkgutil.walk_packages(kdbench.__path__, "kdbench."):
    if "templates" in module.name or module.name == "kdbench.__main__":
        continue
    try:
        importlib.import_module(module.name)
    except Exception as error:
        failed.append(f"{module.name}: {type(error).__name__}: {error}")
print("\\n".join(failed))
"""
CHILD = """
import sys, time
from kdbench.launch.tied import tie
tie()
try:
    print("there", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(7)
"""
STARTS = """
import time
from pathlib import Path
from kdbench.launch.launcher import Program
from kdbench.launch.local import Local
folder = Path(sys.argv[1])
os.environ["PYTHONPATH"] = os.pathsep.join([sys.argv[1], os.environ.get("PYTHONPATH", "")])
with Local(jobs=1, device="cpu") as local:
    job = local.start(Program("child"), folder / "log", 0)
    while "there" not in job.printed():
        assert job.poll() is None, job.printed()
    job.interrupt()
    end = time.monotonic() + 90
    while (code := job.poll()) is None:
        assert time.monotonic() < end
print(code)
"""


def run(script: str, *arguments: str, first: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", first + WITHOUT + script, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=Path(kdbench.__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_every_module_is_imported_without_what_windows_lacks() -> None:
    assert run(IMPORTS, first=ALL) == ""


def test_children_are_interrupted_without_signals(tmp_path: Path) -> None:
    # The child itself has them; it hears of the end of its pipe alone.
    (tmp_path / "child.py").write_text(CHILD)
    assert run(STARTS, str(tmp_path)) == "7"
