"""The launcher `slurm` on a real Slurm cluster of two nodes, all of it on this machine (`make slurm-check`).

Needs Debian's packages `slurm-wlm` and `munge`, and root; nothing of the system's own Slurm is touched. It starts
munged, slurmctld and two slurmd in a folder of its own, without accounting, and checks that

1. a grid gives the predictions that it gives here;
2. a run whose job's time is over is queued again, goes on from its last epoch, and ends as if nothing had been;
3. a killed job is told within a minute, and the same command goes on with its run;
4. when a node is killed, its run goes on at the other one, and ends as if nothing had been.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd
import psutil
import yaml

CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=17817
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool_%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd_%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd_%n.log
SlurmdTimeout=30
ReturnToService=2
KillWait=60
SchedulerParameters=batch_sched_delay=1,sched_interval=2
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17821-17822] CPUs=2 RealMemory=8000
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""
NODES = ("n1", "n2")
WORLD = {"data": {"options": {"actions": 4, "subjects": 4, "trials": 3}}}
LONG = 400
"""Epochs of a run that outlives its job."""


class Cluster:
    """A cluster of two nodes on this machine.

    Args:
        folder: For its keys, states and logs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Cluster:
        munge = self.folder / "munge"
        munge.mkdir(mode=0o700)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        _call("munged", "--force", *(f"--{option}={munge / name}" for option, name in files.items()))
        (self.folder / "state").mkdir()
        conf = self.folder / "slurm.conf"
        conf.write_text(CONF.format(host=os.uname().nodename, folder=self.folder))
        os.environ["SLURM_CONF"] = str(conf)
        _call("slurmctld")
        for node in NODES:
            self.start(node)
        _await(lambda: _call("sinfo", "-N", "-h", "-o", "%T").split() == ["idle"] * len(NODES), "its nodes to be idle")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (*(f"slurmd_{node}.pid" for node in NODES), "slurmctld.pid", "munge/pid"):
            for process in _processes(self.folder / name):
                process.kill()

    def start(self, node: str) -> None:
        """Starts a node."""
        (self.folder / f"spool_{node}").mkdir(exist_ok=True)
        _call("slurmd", "-N", node)

    def kill(self, node: str) -> None:
        """Kills a node and all that runs there, as if its machine had been switched off."""
        spool = str(self.folder / f"spool_{node}")
        lost = _processes(self.folder / f"slurmd_{node}.pid")
        for process in psutil.process_iter(["cmdline", "environ"]):
            environment = process.info["environ"] or {}
            steps = environment.get("SLURMD_NODENAME") == node or spool in " ".join(process.info["cmdline"] or [])
            lost += [process] if steps or f"[{node}" in process.name() else []
        for process in lost:
            for each in [process, *_children(process)]:
                _kill(each)


def main() -> None:
    """Makes the checks; ends with 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, choices=range(1, 5), action="append", help="one of the four; repeatable")
    only = parser.parse_args().only
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if lacking:
        sys.exit(f"Not installed: {', '.join(lacking)}. Install them: apt-get install slurm-wlm munge")
    checks = (as_here, time_is_over, killed, node_dies)
    with tempfile.TemporaryDirectory() as folder, Cluster(Path(folder)) as cluster:
        for number, check in enumerate(checks, 1):
            if only is None or number in only:
                began = time.monotonic()
                check(cluster, Path(tempfile.mkdtemp(dir=folder)))
                print(f"{number}. {(check.__doc__ or '').partition('.')[0]}: yes, in {time.monotonic() - began:.0f} s")


def as_here(_cluster: Cluster, folder: Path) -> None:
    """A grid gives the predictions that it gives here."""
    suite = _suite(folder, epochs=4, seeds=2, methods=["student_only", "student_only_sensor"])
    _run(suite, folder / "there", jobs=4)
    _run(suite, folder / "here", jobs=2, launcher="local")
    _equal(folder / "there", folder / "here", 4)


def time_is_over(_cluster: Cluster, folder: Path) -> None:
    """A job whose time is over is queued again, and its run ends as if nothing had been."""
    suite = _suite(folder, epochs=LONG, launcher={"minutes": 2, "warning_seconds": 60})
    _run(suite, folder / "there")
    log = next((folder / "there" / "logs").glob("*.log")).read_text()
    assert "going on after epoch" in log, log
    _run(suite, folder / "here", launcher="local")
    _equal(folder / "there", folder / "here", 1)


def killed(_cluster: Cluster, folder: Path) -> None:
    """A killed job is told within a minute, and the same command goes on."""
    suite = _suite(folder, epochs=LONG)
    there = _begun(suite, folder / "there")
    _call("scancel", "--me", "--full", "--signal=KILL")
    began = time.monotonic()
    output, _ = there.communicate(timeout=300)
    assert there.returncode != 0, output
    assert "it was cancelled, or its machine failed" in output, output
    assert time.monotonic() - began < 60
    _run(suite, folder / "there")
    _run(suite, folder / "here", launcher="local")
    _equal(folder / "there", folder / "here", 1)


def node_dies(cluster: Cluster, folder: Path) -> None:
    """A run whose node is killed goes on at the other one, and ends as if nothing had been."""
    suite = _suite(folder, epochs=LONG)
    there = _begun(suite, folder / "there")
    node = _call("squeue", "--me", "-h", "-o", "%N").strip()
    cluster.kill(node)
    output, _ = there.communicate(timeout=900)
    assert there.returncode == 0, output
    assert "going on after epoch" in next((folder / "there" / "logs").glob("*.log")).read_text()
    cluster.start(node)
    _run(suite, folder / "here", launcher="local")
    _equal(folder / "there", folder / "here", 1)


def _suite(
    folder: Path,
    *,
    epochs: int,
    seeds: int = 1,
    methods: list[str] | None = None,
    launcher: Mapping[str, int] | None = None,
) -> Path:
    options = {"minutes": 10, "cores": 1, "memory_gb": 3, **(launcher or {})}
    student = {"student": {"train": {"epochs": epochs}}}
    suite = {"methods": methods or ["student_only"], "datasets": ["motionsim"], "preset": "smoke", "seeds": seeds}
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite | {"launcher": {"name": "slurm", **options}, "set": WORLD | student}))
    return path


def _command(suite: Path, out: Path, jobs: int, launcher: str | None) -> list[str]:
    given = ["--suite", str(suite), "--device", "cpu", "--jobs", str(jobs), "--out", str(out)]
    return [sys.executable, "-m", "kdbench", "run", *given, *(["--launcher", launcher] if launcher else [])]


def _run(suite: Path, out: Path, *, jobs: int = 1, launcher: str | None = None) -> None:
    subprocess.run(_command(suite, out, jobs, launcher), check=True, stdout=subprocess.DEVNULL)


def _begun(suite: Path, out: Path) -> subprocess.Popen[str]:
    """A grid whose run has some epochs behind it."""
    command = _command(suite, out, 1, None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _await(lambda: any(path.read_text().count("\n") > 3 for path in out.glob("*/metrics.jsonl")), "an epoch")
    return process


def _equal(there: Path, here: Path, runs: int) -> None:
    names = sorted(path.parent.name for path in here.glob("*/predictions.parquet"))
    assert len(names) == runs, names
    for name in names:
        one, other = (pd.read_parquet(root / name / "predictions.parquet") for root in (there, here))
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def _await(is_so: Callable[[], bool], what: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.5)


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _processes(path: Path) -> list[psutil.Process]:
    try:
        return [psutil.Process(int(path.read_text()))]
    except (OSError, ValueError, psutil.Error):
        return []


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
