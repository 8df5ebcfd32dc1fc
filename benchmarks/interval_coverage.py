"""How often the intervals and tests of `kdbench.statistics` are right, on simulated results whose truth is known.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py            # the whole table
    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py --draws 200

Eight equally good methods are drawn with subjects, seeds and trials that vary (see `World`); each draw goes through
the public functions. Coverage: the share of 95 % intervals that hold the truth, over all methods or all pairs.
Family-wise error: the share of draws in which any of the 28 pairs is told apart after Holm's correction.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import rankdata

from kdbench.statistics import Scope, compare_ranks, compare_scores, from_predictions, offered
from kdbench.statistics.bootstrap import resampled_deviations
from kdbench.statistics.scores import Scores
from kdbench.statistics.spread import Subjects, spread_of

METHODS, CLASSES, ACCURACY = 8, 27, 0.86
FIRST, SECOND = np.triu_indices(METHODS, 1)
NETWORKS = "these_networks"
COVERED, ERROR = (0.93, 0.97), 0.05


@dataclass(frozen=True)
class World:
    """Standard deviations of what makes a trial easy, on the probit scale.

    What is left, of each (method, seed, trial), has 1. At an accuracy of 0.86, 0.1 moves the accuracy by about 1.4
    points: subjects differ by 5 points, a method's lead on a subject by 2.8 from its mean, a method's seeds by `seed`
    (0.05: 0.7 points) beside the noise of 430 or 1860 trials, and by 1.4 more on each subject.
    """

    subjects: int
    trials: int
    scope: str
    seed: float = 0.05
    seeds: int = 3
    subject: float = 0.36
    subject_method: float = 0.14
    subject_seed: float = 0.10
    trial: float = 1.0
    trial_method: float = 0.5
    klass: float = 0.4

    @property
    def who(self) -> np.ndarray:
        """The subject of each trial."""
        return np.repeat(np.arange(self.subjects), self.trials)

    @property
    def labels(self) -> np.ndarray:
        """The class of each trial."""
        return np.tile(np.arange(self.trials) % CLASSES, self.subjects)

    def draws(self, count: int, generator: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Predicted classes `(M, R, N)`, and what the truth is for each class, `(M, K)`: the chance of being right."""
        ease = self.klass * ndtri((np.arange(CLASSES) + 0.5) / CLASSES)
        noise = 1 + self.trial**2 + self.trial_method**2
        from_seeds = self.seed**2 + self.subject_seed**2
        from_subjects = self.subject**2 + self.subject_method**2
        share = np.bincount(self.labels, minlength=CLASSES) / len(self.labels)
        shape, single = (METHODS, self.seeds, self.subjects), np.float32
        for _ in range(count):

            def normal(sd: float, *size: int) -> np.ndarray:
                return sd * generator.standard_normal(size, dtype=single)

            subject = normal(self.subject, 1, 1, shape[2]) + normal(self.subject_method, METHODS, 1, shape[2])
            seed = normal(self.seed, METHODS, self.seeds, 1) + normal(self.subject_seed, *shape)
            if self.scope == NETWORKS:  # What is given is held equal; the rest is left to chance, as `hidden`.
                given, hidden = subject + seed, noise
            elif self.scope == Scope.THESE_SUBJECTS:
                given, hidden = subject, noise + from_seeds
            else:
                given, hidden = np.zeros((METHODS, 1, 1)), noise + from_seeds + from_subjects
            level = _level(given, ease, share, np.sqrt(hidden))
            truth = ndtr((level + given[..., None] + ease) / np.sqrt(hidden)).mean(axis=(1, 2))
            trial = (level[..., 0] + subject + seed)[..., None].repeat(self.trials, axis=3)
            trial += ease[self.labels].reshape(self.subjects, self.trials)
            trial += normal(self.trial, 1, 1, self.subjects, self.trials)
            trial += normal(self.trial_method, METHODS, 1, self.subjects, self.trials)
            right = (generator.random(trial.shape, dtype=single) < ndtr(trial)).reshape(METHODS, self.seeds, -1)
            # A wrong prediction is one of the next three classes.
            other = (self.labels + generator.integers(1, 4, right.shape)) % CLASSES
            yield np.where(right, self.labels, other), truth


def _level(given: np.ndarray, ease: np.ndarray, share: np.ndarray, spread: float) -> np.ndarray:
    """What to add so that each method (or network) is right with probability `ACCURACY`; Newton's method."""
    level = np.full((*given.shape[:2], 1, 1), ndtri(ACCURACY) * spread)
    for _ in range(6):
        z = (level + given[..., None] + ease) / spread
        missing = ACCURACY - (ndtr(z) @ share).mean(axis=2)
        slope = (np.exp(-(z**2) / 2) @ share).mean(axis=2) / np.sqrt(2 * np.pi) / spread
        level = level + (missing / slope)[..., None, None]
    return level


def true_metric(truth: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """The metric `(M,)` on endless trials, from each class's chance of being right `(M, K)`."""
    share = np.bincount(labels, minlength=CLASSES) / len(labels)
    if metric == "accuracy":
        return truth @ share
    wrong = share * (1 - truth)
    predicted = share * truth + sum(np.roll(wrong, step, axis=1) for step in (1, 2, 3)) / 3
    return (2 * share * truth / (share + predicted)).mean(axis=1)


class Tally:
    """Means over draws, with their Monte-Carlo standard errors."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def add(self, **values: float) -> None:
        """Takes the values of one draw."""
        for name, value in values.items():
            self.seen.setdefault(name, []).append(value)

    def cell(self, name: str) -> str:
        """A mean and its error, in per cent."""
        if name not in self.seen:
            return "–"
        mean, error = self.mean(name), np.std(self.seen[name], ddof=1) / np.sqrt(len(self.seen[name]))
        return f"{100 * mean:.1f} ± {100 * error:.1f}"

    def mean(self, name: str) -> float:
        """The mean of what was added under a name."""
        return float(np.mean(self.seen[name]))

    @property
    def verdict(self) -> str:
        """Whether every promise is kept."""
        covers = [COVERED[0] <= self.mean(name) <= COVERED[1] for name in ("methods", "pairs") if name in self.seen]
        errs = [self.mean("family") <= ERROR] if "family" in self.seen else []
        return "yes" if all(covers + errs) else "**no**"


def measure_offered(world: World, way: str, metric: str, count: int, draws: int | None) -> Tally:
    tally = Tally()
    for predictions, chance in world.draws(count, np.random.default_rng(20240)):
        truth = true_metric(chance, world.labels, metric)
        found = compare_scores(_scores(predictions, world, metric), scope=world.scope, way=way, draws=draws)
        gap = truth[FIRST] - truth[SECOND]
        tally.add(
            pairs=np.mean([p.interval.low <= t <= p.interval.high for p, t in zip(found.pairs, gap, strict=True)])
        )
        if way == "t":  # A method's own interval is always made this way.
            held = [s.interval.low <= t <= s.interval.high for s, t in zip(found.methods, truth, strict=True)]
            tally.add(methods=float(np.mean(held)))
        if metric == "accuracy" and (way == "t" or draws is None):
            tally.add(family=any(p.p_holm <= ERROR for p in found.pairs))
    return tally


def measure_mcnemar(world: World, count: int) -> Tally:
    tally = Tally()
    for predictions, _ in world.draws(count, np.random.default_rng(20241)):
        found = compare_scores(_scores(predictions, world, "accuracy"), way="t")
        tally.add(family=any(p.mcnemar.p_holm <= ERROR for p in found.pairs))
    return tally


def measure_ranks(world: World, count: int) -> Tally:
    tally = Tally()
    names = [str(m) for m in range(METHODS)]
    critical = None
    for predictions, _ in world.draws(count, np.random.default_rng(20242)):
        by_subject = _scores(predictions, world, "accuracy").by_subject
        if critical is None:  # Its quantile takes a while, and depends on the numbers of methods and blocks alone.
            critical = compare_ranks(names, by_subject).critical_difference
        ranks = rankdata(-by_subject, axis=0).mean(axis=1)
        tally.add(family=np.ptp(ranks) > critical)
    return tally


def _scores(predictions: np.ndarray, world: World, metric: str) -> Scores:
    by_name = {f"m{m}": dict(enumerate(by_seed)) for m, by_seed in enumerate(predictions)}
    return from_predictions(by_name, world.labels, world.who, metric=metric)


# What was tried and is not offered: half-widths or limits of the accuracy's intervals, for all contrasts at once.

CONTRASTS = np.concatenate([np.eye(METHODS), np.eye(METHODS)[FIRST] - np.eye(METHODS)[SECOND]])
Rejected = Callable[[np.ndarray, Subjects, Scope, np.ndarray], np.ndarray]


def _spread(values: np.ndarray, subjects: Subjects, scope: Scope):
    flat = CONTRASTS @ values.reshape(METHODS, -1)
    return spread_of(flat.reshape(len(CONTRASTS), *values.shape[1:]), subjects, scope)


def t_without_seeds(values: np.ndarray, subjects: Subjects, scope: Scope, truth: np.ndarray) -> np.ndarray:
    """Student's t over the subjects alone."""
    spread = _spread(values, subjects, scope)
    return np.abs(spread.estimate - truth) <= stdtrit(spread.unit_df, 0.975) * np.sqrt(spread.mixed)


def satterthwaite(values: np.ndarray, subjects: Subjects, scope: Scope, truth: np.ndarray) -> np.ndarray:
    """The unbiased sum of the components, with Satterthwaite's degrees of freedom."""
    spread = _spread(values, subjects, scope)
    extra = np.maximum(spread.seeds - spread.rest, 0)
    variance = spread.mixed + extra
    freedom = variance**2 / (spread.mixed**2 / spread.unit_df + extra**2 / spread.seed_df)
    return np.abs(spread.estimate - truth) <= stdtrit(freedom, 0.975) * np.sqrt(variance)


def crossed_percentiles(values: np.ndarray, subjects: Subjects, scope: Scope, truth: np.ndarray) -> np.ndarray:
    """Percentiles of a bootstrap that draws trials within subjects (or subjects) and seeds, both with replacement."""
    generator = np.random.default_rng(0)
    runs, draws = values.shape[1], 1000
    if scope is Scope.THESE_SUBJECTS:
        flat = values.reshape(METHODS * runs, -1)
        shrink = np.sqrt(1 - 1 / subjects.sizes.mean())
        moved = flat.mean(axis=1) + shrink * resampled_deviations(flat, subjects, draws, generator)
    else:
        by_subject = subjects.sums(values).reshape(METHODS * runs, -1) / subjects.sizes
        count = len(subjects.names)
        moved = generator.multinomial(count, np.full(count, 1 / count), draws) / count @ by_subject.T
    picked = generator.multinomial(runs, np.full(runs, 1 / runs), draws) / runs
    means = np.einsum("bmr,br->bm", moved.reshape(draws, METHODS, runs), picked) @ CONTRASTS.T
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return (low <= truth) & (truth <= high)


def wild_cluster(values: np.ndarray, subjects: Subjects, _scope: Scope, truth: np.ndarray) -> np.ndarray:
    """Wild cluster bootstrap-t over the subjects with the null imposed, Webb's six weights; covers if p > 0.05."""
    generator = np.random.default_rng(0)
    weights = np.sqrt([0.5, 1, 1.5])
    drawn = generator.choice(np.concatenate([-weights, weights]), (999, len(subjects.names)))
    by_subject = CONTRASTS @ (subjects.sums(values.mean(axis=1)) / subjects.sizes)
    off = by_subject - truth[:, None]

    def t_of(residuals: np.ndarray) -> np.ndarray:
        return residuals.mean(axis=-1) / np.maximum(residuals.std(axis=-1, ddof=1), 1e-12)

    return (np.abs(t_of(drawn[:, None] * off)) >= np.abs(t_of(off)) - 1e-9).mean(axis=0) > 0.05


REJECTED: dict[Scope, dict[str, Rejected]] = {
    Scope.THESE_SUBJECTS: {
        "percentile bootstrap of trials and seeds": crossed_percentiles,
        "Satterthwaite t": satterthwaite,
        "t, seeds ignored": t_without_seeds,
    },
    Scope.NEW_SUBJECTS: {
        "percentile bootstrap of subjects and seeds": crossed_percentiles,
        "Satterthwaite t": satterthwaite,
        "t over subjects, seeds ignored": t_without_seeds,
        "wild cluster (Webb), seeds ignored": wild_cluster,
    },
}


def measure_rejected(world: World, count: int) -> dict[str, Tally]:
    scope = Scope(world.scope)
    tallies = {name: Tally() for name in REJECTED[scope]}
    for predictions, chance in world.draws(count, np.random.default_rng(20240)):
        truth = CONTRASTS @ true_metric(chance, world.labels, "accuracy")
        subjects = Subjects.of(world.who)
        values = (predictions == world.labels).astype(np.float64)
        for name, way in REJECTED[scope].items():
            held = way(values, subjects, scope, truth)
            tallies[name].add(methods=held[:METHODS].mean(), pairs=held[METHODS:].mean())
    return tallies


def rows(count: int) -> Iterator[tuple[str, ...]]:
    """The table's rows: whom about, design, seeds' spread, way, coverage of methods and pairs, family-wise error."""
    kinds = {"alike": 0.0, "typical": 0.05, "unlike": 0.08}
    for scope in Scope:
        for subjects, trials in ((4, 107), (20, 93)):
            world = World(subjects, trials, scope)
            design = f"{subjects} × {trials} × {world.seeds}"
            for way in offered(scope):
                for metric in ("accuracy", "macro_f1"):
                    tally = measure_offered(world, way, metric, count, None if metric == "accuracy" else 1000)
                    yield _row(scope, design, "typical", f"{way}, {metric}", tally, tally.verdict)
                for kind in ("alike", "unlike"):
                    tally = measure_offered(replace(world, seed=kinds[kind]), way, "accuracy", count, 1000)
                    yield _row(scope, design, kind, f"{way}, accuracy", tally, tally.verdict)
            for kind in ("typical", "unlike"):
                for name, tally in measure_rejected(replace(world, seed=kinds[kind]), count).items():
                    yield _row(scope, design, kind, f"(not offered) {name}", tally, tally.verdict)
    for subjects, trials in ((4, 107), (20, 93)):
        world = World(subjects, trials, NETWORKS)
        tally = measure_mcnemar(world, count)
        yield _row("these trials", f"{subjects} × {trials} × 3", "given", "exact McNemar, Rüger", tally, tally.verdict)
    for kind in ("alike", "typical"):
        world = World(20, 93, Scope.NEW_SUBJECTS, seed=kinds[kind])
        tally = measure_ranks(world, count)
        yield _row("new_subjects, these networks", "20 × 93 × 3", kind, "Nemenyi", tally, tally.verdict)


def _row(scope: str, design: str, kind: str, way: str, tally: Tally, verdict: str) -> tuple[str, ...]:
    return (str(scope), design, kind, way, *(tally.cell(name) for name in ("methods", "pairs", "family")), verdict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000, help="simulated results in each row")
    count = parser.parse_args().draws
    began = time.perf_counter()
    head = ("about", "subjects × trials × seeds", "seeds", "way", "coverage, methods %", "coverage, pairs %")
    print("| " + " | ".join((*head, "family-wise error %", "within 93–97, ≤ 5")) + " |")
    print("|" + "---|" * 8)
    for row in rows(count):
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n{count} draws a row; ± is the Monte-Carlo standard error; {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
