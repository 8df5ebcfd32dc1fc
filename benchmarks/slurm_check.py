"""The launcher `slurm` on a real Slurm cluster of two nodes, all of it on this machine (`make slurm-check`).

Needs Debian's packages `slurm-wlm` and `munge`, and root; nothing of the system's own Slurm is touched. It starts
munged, slurmctld and two slurmd in a folder of its own, without accounting, and checks that

1. a grid gives the predictions that it gives here;
2. a run whose job's time is over is queued again, goes on from its last epoch, and ends as if nothing had been;
3. a job that is cancelled keeps its last epoch, one that is killed is told as that, both within a minute, and the same
   command goes on with the run;
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
from collections.abc import Callable, Iterator, Mapping
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
LONG = 300
"""Epochs of a run that outlives its job."""
MINUTES = 30


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
        daemons = _processes(self.folder / f"slurmd_{node}.pid")
        inside = _inside("SLURMD_NODENAME", node)
        for process in inside:
            daemons += [each for each in _parents(process) if each.name() == "slurmstepd" and each not in daemons]
        # What a machine runs ends all at once: a daemon that outlived its job would tell the controller how it ended.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in [*daemons, *inside]:
                _send(process, number)


def main() -> None:
    """Makes the checks; ends with 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=int, choices=range(1, 5), action="append", help="one of the four; repeatable")
    parser.add_argument("--keep", type=Path, help="a new folder for the runs and Slurm's logs, which stays")
    given = parser.parse_args()
    lacking = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if lacking:
        sys.exit(f"Not installed: {', '.join(lacking)}. Install them: apt-get install slurm-wlm munge")
    checks = (as_here, time_is_over, killed, node_dies)
    with _folder(given.keep) as folder, Cluster(folder) as cluster:
        for number, check in enumerate(checks, 1):
            if given.only is None or number in given.only:
                began = time.monotonic()
                runs = folder / check.__name__
                runs.mkdir()
                check(cluster, runs)
                said = (check.__doc__ or "").partition(".")[0]
                print(f"{number}. {said}: yes, in {time.monotonic() - began:.0f} s", flush=True)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def as_here(_cluster: Cluster, folder: Path) -> None:
    """A grid gives the predictions that it gives here."""
    suite = _suite(folder, epochs=4, seeds=2, methods=["student_only", "student_only_sensor"])
    _run(suite, folder / "there", jobs=4)
    _run(suite, folder / "here", jobs=2, launcher="local")
    _equal(folder / "there", folder / "here", 4)


def time_is_over(cluster: Cluster, folder: Path) -> None:
    """A job whose time is over is queued again, and its run ends as if nothing had been."""
    suite = _suite(folder, epochs=LONG, launcher={"warning_seconds": 60})
    there = _begun(suite, folder / "there")
    job, used = _call("squeue", "--me", "--noheader", "--format=%i %M").split()
    # The limit comes down to the minute that has begun, so that no slow machine is told before its first epoch.
    _limit(job, 1 + sum(int(part) * 60**power for power, part in enumerate(reversed(used.split(":")))) // 60)
    _await(lambda: _call("squeue", "--me", "--noheader", "--format=%T").strip() == "PENDING", "it to be queued again")
    _limit(job, MINUTES)
    output, _ = there.communicate(timeout=900)
    assert there.returncode == 0, output
    log = next((folder / "there" / "logs").glob("*.log")).read_text()
    assert "going on after epoch" in log, log
    _equal(folder / "there", _long_here(cluster), 1)


def killed(cluster: Cluster, folder: Path) -> None:
    """A cancelled or killed job is told within a minute, and the same command goes on."""
    suite = _suite(folder, epochs=LONG)
    for end, told in (
        (lambda: _call("scancel", "--me"), "interrupted; it goes on from its last epoch"),
        (_kill_jobs, "ended without a result: it was cancelled, or its machine failed"),
    ):
        there = _begun(suite, folder / "there")
        end()
        began = time.monotonic()
        output, _ = there.communicate(timeout=300)
        assert there.returncode != 0, output
        assert told in output, output
        assert time.monotonic() - began < 60, output
    _run(suite, folder / "there")
    _equal(folder / "there", _long_here(cluster), 1)


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
    _equal(folder / "there", _long_here(cluster), 1)


def _suite(
    folder: Path,
    *,
    epochs: int,
    seeds: int = 1,
    methods: list[str] | None = None,
    launcher: Mapping[str, int] | None = None,
) -> Path:
    options = {"minutes": MINUTES, "cores": 1, "memory_gb": 3, **(launcher or {})}
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


def _limit(job: str, minutes: int) -> None:
    _call("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")


def _long_here(cluster: Cluster) -> Path:
    """The folder of the long run as this machine makes it by itself; once for all checks."""
    folder = cluster.folder / "long"
    if not folder.is_dir():
        folder.mkdir()
        _run(_suite(folder, epochs=LONG), folder / "here", launcher="local")
    return folder / "here"


def _begun(suite: Path, out: Path) -> subprocess.Popen[str]:
    """A grid whose run has some epochs behind it, and some more than before."""
    before = _epochs(out)
    command = _command(suite, out, 1, None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    _await(lambda: _epochs(out) > before + 3, "an epoch")
    return process


def _epochs(out: Path) -> int:
    return sum(path.read_text().count("\n") for path in out.glob("*/metrics.jsonl"))


def _kill_jobs() -> None:
    """Kills all that the jobs run, as the system does where memory runs out; Slurm's daemons stay."""
    for process in _inside("SLURM_JOB_ID"):
        _send(process, signal.SIGKILL)


def _inside(variable: str, value: str | None = None) -> list[psutil.Process]:
    """The processes that have a variable, of a value, in their environment."""
    own = [(process, process.info["environ"] or {}) for process in psutil.process_iter(["environ"])]
    return [process for process, has in own if variable in has and value in (None, has[variable])]


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


def _parents(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.parents()
    except psutil.Error:
        return []


def _send(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)


if __name__ == "__main__":
    main()
