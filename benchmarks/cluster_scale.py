"""What breaks first where thousands of runs share one folder: a discrete-event simulation with measured costs.

    python benchmarks/cluster_scale.py --measure                 # the costs, on this machine
    python benchmarks/cluster_scale.py --cells 10000 --gpus 500
    python benchmarks/cluster_scale.py --cells 10000 --gpus 500 --as-it-was

Four things are shared: the process of the grid, which looks after every run; the server of the shared disk, which every
run asks; the one writer of a sqlite file that mirrors all runs, by default; and the GPUs. Each is a queue. Lengths of
runs are those of the submissions of kdbench's board, scaled to `--median-seconds`. A GPU fails after `--failure-hours`
on average, by default as often as those of Llama 3's training did (Grattafiori et al., The Llama 3 Herd of Models,
2024, section 3.3.4: 466 interruptions in 54 days of 16,384 GPUs); its run goes on elsewhere from its last epoch.

`--as-it-was` takes the costs of kdbench before thousands of runs were thought of: each end of a run had the grid read
all finished runs and look at all that were left, and each run read the results of all others for its gain.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
EPOCHS = 30
SEEDS, METHODS = 10, 20
TICK_SECONDS = 0.2
"""As `kdbench.grid.execute.TICK_SECONDS`."""
MIRROR_SECONDS = 30
"""How long the end of a run waits for its mirror."""


@dataclass(frozen=True)
class Costs:
    """Seconds of what is done on shared things, measured on two busy cores with a local disk, see `measure`.

    Attributes:
        read: A result is read and checked.
        entry: One name of a listing.
        lock: A folder is made, locked and released.
        write: A file is written whole and flushed.
        insert: MLflow takes the numbers of an epoch into its sqlite file.
        left: What one finished run adds to each look at the time that is left, as it was.
        ended: A run's end, for the grid, as it is.
        server: One request to a shared disk's server; no measurement, but what its makers say of a middling one.
    """

    read: float = 0.0002
    entry: float = 0.0000008
    lock: float = 0.0003
    write: float = 0.010
    insert: float = 0.07
    left: float = 0.00013
    ended: float = 0.001
    server: float = 1 / 5000


def lengths() -> list[float]:
    """Seconds of training of the runs on kdbench's board."""
    told: list[float] = []
    for path in (ROOT / "leaderboard" / "submissions").rglob("result.json"):
        costs = [seed["claims"].get("cost") or {} for seed in json.loads(path.read_text())["seeds"]]
        told += [cost["train_seconds"] for cost in costs if cost.get("train_seconds")]
    return told


class Shared:
    """Something that does one thing at a time, and how busy it is."""

    def __init__(self, env: object, name: str) -> None:
        import simpy

        self.env, self.name, self.busy, self.longest = env, name, 0.0, 0.0
        self.queue = simpy.Resource(env, capacity=1)

    def do(self, seconds: float) -> Iterator[object]:
        """Waits for its turn, and takes so long."""
        asked = self.env.now
        with self.queue.request() as turn:
            yield turn
            self.longest = max(self.longest, self.env.now - asked)
            self.busy += seconds
            yield self.env.timeout(seconds)


class Cluster:
    """A grid of runs on GPUs that share a folder."""

    def __init__(self, given: argparse.Namespace, costs: Costs) -> None:
        import simpy

        self.given, self.costs, self.env = given, costs, simpy.Environment()
        self.draw = random.Random(0)
        known = lengths()
        scale = given.median_seconds / statistics.median(known)
        # No two take equally long.
        self.cells = [scale * self.draw.choice(known) * self.draw.uniform(0.9, 1.1) for _ in range(given.cells)]
        # As the grid has it: the longest first.
        self.cells.sort(reverse=True)
        self.grid, self.disk, self.mirror = (Shared(self.env, name) for name in ("grid", "disk", "mirror"))
        self.free, self.done, self.failed, self.late, self.worked = given.gpus, 0, 0, 0, 0.0
        self.over = simpy.Store(self.env)

    def run(self) -> None:
        """Until every run is done."""
        self.env.run(until=self.env.process(self.look_after()))

    def look_after(self) -> Iterator[object]:
        """The process of the grid."""
        waiting = list(reversed(self.cells))
        while self.done < self.given.cells:
            while self.over.items:
                seconds = yield self.over.get()
                self.free += 1
                if seconds:
                    self.failed += 1
                    waiting.append(seconds)
                else:
                    self.done += 1
                left = self.given.cells - self.done
                slow = self.costs.left * (left + self.done) if self.given.as_it_was else self.costs.ended
                yield from self.grid.do(slow)
            while self.free and waiting:
                self.free -= 1
                # The plan looks whether it was made meanwhile, and a log is opened.
                yield from self.grid.do(self.costs.read + self.costs.lock)
                self.env.process(self.train(waiting.pop()))
            yield self.env.timeout(TICK_SECONDS)

    def train(self, seconds: float) -> Iterator[object]:
        """A run: its folder, its epochs with their records, its gain and its result."""
        fails = self.draw.expovariate(1 / (3600 * self.given.failure_hours))
        # A lock, other versions' folders of the same name in a listing of a hundred names a request, the result begun.
        yield from self.disk.do(self.costs.server * (4 + self.done / 100))
        epoch, mirrored, owed = seconds / EPOCHS, [], [0]
        for number in range(EPOCHS):
            if fails < (number + 1) * epoch:
                yield self.env.timeout(max(0.0, fails - number * epoch))
                yield self.over.put(seconds - number * epoch)
                return
            yield self.env.timeout(epoch)
            # A line of its log, and its checkpoint, each flushed and renamed.
            yield from self.disk.do(self.costs.server * 6)
            if self.given.mirror:
                owed[0] += 1
                # What has come while it waited for its turn goes along; as it was, each epoch had a turn of its own.
                if self.given.as_it_was or owed[0] == 1:
                    mirrored.append(self.env.process(self.send(owed)))
        self.worked += seconds
        # The results that are read for its gain: those of the student alone at its seed, under any conditions.
        others = self.done if self.given.as_it_was else self.done / SEEDS / METHODS
        yield from self.disk.do(self.costs.server * (self.done / 100 + others + 12))
        if mirrored:
            waits = self.env.all_of(mirrored) | self.env.timeout(MIRROR_SECONDS)
            yield waits
            self.late += not all(each.processed for each in mirrored)
        yield self.over.put(0.0)

    def send(self, owed: list[int]) -> Iterator[object]:
        """The thread of a run's mirror: sends the epochs that are owed."""
        with self.mirror.queue.request() as turn:
            asked = self.env.now
            yield turn
            self.mirror.longest = max(self.mirror.longest, self.env.now - asked)
            self.mirror.busy += self.costs.insert
            owed[0] = owed[0] - 1 if self.given.as_it_was else 0
            yield self.env.timeout(self.costs.insert)

    def told(self) -> str:
        """The result in a line."""
        ideal = max(sum(self.cells) / self.given.gpus, *self.cells)
        now = self.env.now
        shares = ", ".join(
            f"{each.name} {each.busy / now:.0%} busy, waits up to {each.longest:.1f} s"
            for each in (self.grid, self.disk, self.mirror)
        )
        return (
            f"{self.given.cells} runs on {self.given.gpus} GPUs: {now / 3600:.2f} h, {now / ideal:.2f} x the ideal; "
            f"{self.failed} failures; {shares}; {self.late} runs that MLflow lacks the end of"
        )


def measure() -> Costs:
    """The costs that can be measured on one machine; each the median of many times."""
    from filelock import FileLock

    from kdbench.runs.mirror_store import create_store, import_mlflow, tracking_uri
    from kdbench.runs.store import stored_run
    from kdbench.util.records import write_json

    import_mlflow()
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    def seconds(work: Callable[[int], object], times: int) -> float:
        took = []
        for number in range(times):
            start = time.perf_counter()
            work(number)
            took.append(time.perf_counter() - start)
        return statistics.median(took)

    def lock(root: Path, number: int) -> None:
        (root / f"run-{number}").mkdir()
        with FileLock(root / f"run-{number}" / ".lock"):
            pass

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        import kdbench

        made = kdbench.run("student_only", "motionsim", preset="smoke", device="cpu", out=root / "runs").folder
        locked = seconds(lambda number: lock(root, number), 1000)
        result = json.loads((made / "run.json").read_text())
        create_store(root, print)
        client = MlflowClient(tracking_uri=tracking_uri(root))
        run_id = client.create_run("0").info.run_id

        def insert(step: int) -> None:
            client.log_batch(run_id, [Metric(f"student/metric_{each}", 0.5, step, step) for each in range(20)])

        return Costs(
            read=seconds(lambda _: stored_run(made), 300),
            entry=seconds(lambda _: list(root.iterdir()), 100) / 1000,
            lock=locked,
            write=seconds(lambda number: write_json(root / f"{number}.json", result), 100),
            insert=seconds(insert, 100),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 2500, 5000, 10_000])
    parser.add_argument("--gpus", type=int, default=500)
    parser.add_argument("--median-seconds", type=float, default=600.0)
    parser.add_argument("--failure-hours", type=float, default=16_384 * 54 * 24 / 466)
    parser.add_argument("--mirror", action=argparse.BooleanOptionalAction, default=True, help="runs/mlflow.db")
    parser.add_argument("--as-it-was", action="store_true")
    parser.add_argument("--measure", action="store_true", help="measure the costs here, and simulate nothing")
    given = parser.parse_args()
    if given.measure:
        for name, value in dataclasses.asdict(measure()).items():
            print(f"{name:>7} {1000 * value:8.4f} ms")
        return
    for count in given.cells:
        cluster = Cluster(argparse.Namespace(**{**vars(given), "cells": count}), Costs())
        cluster.run()
        print(cluster.told(), flush=True)


if __name__ == "__main__":
    main()
