"""What a suite costs beyond its runs, and what a second job saves: python benchmarks/suite_time.py --out FOLDER.

Runs seven methods at `small` on UTD-MHAD, depth, six of them with the teacher raw, as `kdbench run` does, one thread a
process, and compares the wall time with what the runs say of themselves. They share one trained teacher a seed. Twice,
into folders of their own:

    python benchmarks/suite_time.py --out one --jobs 1
    python benchmarks/suite_time.py --out two --jobs 2

The ratio of the two wall times is the speed-up; `--seeds 1` makes both shorter. The data must be prepared
(`kdbench data prepare`), and the machine must have nothing else to do. With `--smoke` it runs the suite `smoke`, whose
runs take seconds, so that the processor time of all processes is above all what it costs to start them.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from kdbench.runs.store import stored_runs

METHODS = ("student_only", "kd", "dist", "rkd", "sp", "at", "kd_wrong_trials")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs, which must not exist")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="the suite smoke, on the CPU, instead")
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists; runs that are already done would take no time")

    command = [sys.executable, "-m", "kdbench", "run"]
    if arguments.smoke:
        command += ["--suite", "smoke", "--device", "cpu"]
    else:
        command += [word for method in METHODS for word in ("--method", method)] + ["--teacher", "raw"]
        command += ["--dataset", "utd_mhad", "--protocol", "cross_subject", "--preset", "small", "--video", "depth"]
        command += ["--seeds", str(arguments.seeds)]
    command += ["--jobs", str(arguments.jobs), "--out", str(arguments.out)]
    started = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    wall = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)

    runs = [run.result for run in stored_runs(arguments.out)[0]]
    teachers = {run["teacher"]["folder"]: run["cost"]["teacher_seconds"] for run in runs if run["teacher"]}
    own = sum(run["cost"]["seconds_this_process"] for run in runs)
    loops = sum(run["cost"]["train_seconds"] for run in runs) + sum(teachers.values())
    busy = wall * arguments.jobs
    trained = sum(seconds > 0 for seconds in teachers.values())
    print(f"{len(runs)} runs, {trained} trained teachers, jobs {arguments.jobs}: {wall:.0f} s")
    print(f"processor time of all processes: {used.ru_utime + used.ru_stime:.0f} s")
    print(f"the runs' own time, each teacher once: {own:.0f} s; wall x jobs over it: {busy / own:.3f}")
    print(f"their training loops alone: {loops:.0f} s; wall x jobs over it: {busy / loops:.3f}")


if __name__ == "__main__":
    main()
