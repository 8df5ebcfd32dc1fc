"""How much of a number is the protocol: python benchmarks/protocol_effects.py RUNS.

Reads finished runs, such as those of the suites `leaderboard_cross_subject`, `leaderboard_subject_specific` and
`oracle`, and prints as Markdown

1. each method under every protocol that it was run under,
2. what the epoch that is best on the test part (`selection.rule=best-test`) adds to the last epoch of the same run,
3. the gain over `student_only` of every method, and of the controls, whose teachers know nothing.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

import kdbench
from kdbench.runs.schema import FINISHED
from kdbench.runs.store import StoredRun, stored_runs
from kdbench.util.records import read_jsonl

ORACLE = "best-test"


def spread(shares: list[float]) -> str:
    """Mean and sample standard deviation, in percent."""
    percent = [100 * share for share in shares]
    return f"{statistics.fmean(percent):.2f}" + (f" ± {statistics.stdev(percent):.2f}" if len(percent) > 1 else "")


def protocols(runs: list[StoredRun]) -> None:
    """One row per method and preset, one column per protocol; the methods with more than one."""
    held: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        held[run.method, run.result["preset"]][run.result["protocol"]].append(run.metrics["accuracy"])
    several = {key: by_protocol for key, by_protocol in held.items() if len(by_protocol) > 1}
    if not several:
        return
    columns = sorted({protocol for by_protocol in several.values() for protocol in by_protocol})
    print("\n| method | preset |", " | ".join(columns), "|\n|---|---|" + "---:|" * len(columns))
    for (method, preset), by_protocol in several.items():
        cells = [
            f"{spread(by_protocol[name])} (n = {len(by_protocol[name])})" if name in by_protocol else "–"
            for name in columns
        ]
        print(f"| `{method}` | {preset} |", " | ".join(cells), "|")


def oracle(runs: list[StoredRun]) -> None:
    """The last epoch and the best one of the same trainings, read from their records."""
    held: dict[tuple[str, str, str], list[tuple[float, float, int]]] = defaultdict(list)
    for run in runs:
        phase = "student" if run.result["recipe"]["student"] else "teacher"
        records = [one for one in read_jsonl(run.folder / "metrics.jsonl") if one["phase"] == phase]
        best = run.result["best_epoch"]
        key = (run.method, run.result["protocol"], run.result["preset"])
        held[key].append((records[-1]["test"]["accuracy"], best["accuracy"], best["epoch"]))
    if not held:
        return
    print("\n| method | protocol | preset | last epoch | best on test (oracle) | difference | its epochs |")
    print("|---|---|---|---:|---:|---:|---|")
    for (method, protocol, preset), values in held.items():
        last, best, epochs = zip(*values, strict=True)
        more = [high - low for low, high in zip(last, best, strict=True)]
        cells = (spread([*last]), spread([*best]), f"+{spread(more)}", ", ".join(map(str, epochs)))
        print(f"| `{method}` | {protocol} | {preset} |", " | ".join(cells), "|")


def gains(root: Path) -> None:
    """Paired by trial and seed; intervals for these subjects."""
    frame = kdbench.compare(root).methods
    known = frame[frame["gain"].notna() & ~frame["selection"].str.contains("oracle")]
    print("\n| method | protocol | gain over | points | 95 % interval | reading |\n|---|---|---|---:|---|---|")
    for _, row in known.iterrows():
        name = f"`{row['method']}`" + (" (control)" if pd.notna(row["control"]) else "")
        points = [100 * row[key] for key in ("gain", "gain_low", "gain_high")]
        interval = f"{points[1]:+.2f} to {points[2]:+.2f}"
        print(
            f"| {name} | {row['protocol']} | `{row['gain_over']}` | {points[0]:+.2f} | {interval} | {row['reading']} |"
        )


def main() -> None:
    root = Path(sys.argv[1])
    finished = [run for run in stored_runs(root)[0] if run.status == FINISHED]
    protocols([run for run in finished if run.conditions["selection"] != ORACLE])
    oracle([run for run in finished if run.conditions["selection"] == ORACLE and run.result["recipe"]["student"]])
    gains(root)


if __name__ == "__main__":
    main()
