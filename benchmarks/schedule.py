"""How much sooner a grid ends where the longest runs come first: a simulation of the grid's own rule.

    python benchmarks/schedule.py

Forty runs of two lengths (a seed's short and long runs follow one another, as a suite lists them), five seeds, and a
teacher for each seed that its taught runs wait for. First come: the plan's order. Longest first: the order of
`kdbench.grid.estimate.longest_first`. Ideal: the work divided by the places, or the longest chain of runs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

SHORT, LONG, TEACHER = 60.0, 600.0, 45.0
SEEDS, KINDS = 5, 8


@dataclass(frozen=True)
class Cell:
    """A run: seconds without its teacher, and the teacher's name where it has one."""

    seconds: float
    teacher: int | None


def cells() -> list[Cell]:
    """Eight runs a seed, short and long in turn; all but the first wait for the seed's teacher."""
    return [Cell(LONG if kind % 2 else SHORT, seed if kind else None) for seed in range(SEEDS) for kind in range(KINDS)]


def longest_first(waiting: Sequence[Cell]) -> list[Cell]:
    """The rule of `kdbench.grid.estimate.longest_first`."""
    lengths = [cell.seconds for cell in waiting]
    for teacher in {cell.teacher for cell in waiting} - {None}:
        sharing = [place for place, cell in enumerate(waiting) if cell.teacher == teacher]
        first = max(sharing, key=lambda place: waiting[place].seconds)
        lengths[first] += TEACHER + waiting[first].seconds
    return [waiting[place] for place in sorted(range(len(waiting)), key=lambda place: -lengths[place])]


def makespan(order: Sequence[Cell], places: int) -> float:
    """Seconds until all are done: a free place takes the first that need not wait for a teacher in training."""
    pending, ready, now = list(order), dict[int, float](), 0.0
    running: list[tuple[float, int]] = []
    free = places
    while pending or running:
        started = True
        while free and started:
            started = False
            for cell in pending:
                if cell.teacher is None or ready.get(cell.teacher, 0.0) <= now:
                    trains = cell.teacher is not None and cell.teacher not in ready
                    if cell.teacher is not None and trains:
                        ready[cell.teacher] = now + TEACHER
                    heapq.heappush(running, (now + cell.seconds + trains * TEACHER, id(cell)))
                    pending.remove(cell)
                    free, started = free - 1, True
                    break
        ends = [running[0][0]] if running else []
        ends += [at for at in ready.values() if at > now and pending and free]
        now = min(ends)
        while running and running[0][0] <= now:
            heapq.heappop(running)
            free += 1
    return now


def main() -> None:
    """Prints a table."""
    plan = cells()
    work = sum(cell.seconds for cell in plan) + SEEDS * TEACHER
    print("places  first come, min  longest first, min  ideal, min  sooner")
    for places in (2, 4, 8, 16, 32):
        first, best = makespan(plan, places), makespan(longest_first(plan), places)
        ideal = max(work / places, TEACHER + LONG)
        print(f"{places:6}  {first / 60:15.1f}  {best / 60:18.1f}  {ideal / 60:10.1f}  {1 - best / first:6.1%}")


if __name__ == "__main__":
    main()
