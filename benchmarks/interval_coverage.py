"""How often the intervals and tests of `kdbench.statistics` are right, on simulated results whose truth is known.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py                           # everything
    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py --draws 200 --only near

Equally good methods are drawn with subjects, seeds and trials that vary (see `World`). Coverage: the share of 95 %
intervals that hold the truth, over all methods or all pairs; the pairs of one unstable method hold it less often, and
have a column of their own. Family-wise error: the share of draws in which any pair is told apart after Holm's
correction, over the pairs with one method (the baseline) or over all pairs. Where a method is five times as unstable as
all others, its seeds may agree by luck, and then no rule that lends it their calm can keep its promise to its pairs.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import rankdata

from kdbench.statistics import Scope, compare_ranks, from_predictions, holm, mcnemar, offered
from kdbench.statistics.bootstrap import resampled_deviations
from kdbench.statistics.comparison import DRAWS_A_PAIR
from kdbench.statistics.intervals import Inference, infer_bootstrap, infer_t
from kdbench.statistics.margins import margin
from kdbench.statistics.scores import Scores
from kdbench.statistics.spread import Subjects, spread_of

METHODS, CLASSES = 8, 27
FIRST, SECOND = np.triu_indices(METHODS, 1)
NETWORKS = "these-networks"
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
    accuracy: float = 0.86
    seed: float | tuple[float, ...] = 0.05
    seeds: int = 3
    subject: float = 0.36
    subject_method: float = 0.14
    subject_seed: float = 0.10
    trial: float = 1.0
    trial_method: float = 0.5
    klass: float = 0.4
    own_networks: bool = False
    """Each subject is a block, tested by networks of its own, as in leave-one-subject-out."""
    folds: int = 1
    """Parts of equally many subjects, each tested by networks of its own, as where two folds are pooled."""
    labels_drawn: float = 0.0
    """What the draw of the labelled subject does to all methods at a seed alike, as in a track of few labels; the same
    again on each subject, who may be like that one or not."""

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
        noise = np.full((1, 1, 1), 1 + self.trial**2 + self.trial_method**2)
        of_seed = np.reshape(self.seed, (-1, 1, 1)).astype(np.float32)
        from_seeds = of_seed**2 + self.subject_seed**2 + 2 * self.labels_drawn**2
        from_subjects = self.subject**2 + self.subject_method**2
        share = np.bincount(self.labels, minlength=CLASSES) / len(self.labels)
        shape, single = (METHODS, self.seeds, self.subjects), np.float32
        for _ in range(count):

            def normal(sd: float | np.ndarray, *size: int) -> np.ndarray:
                return sd * generator.standard_normal(size, dtype=single)

            subject = normal(self.subject, 1, 1, shape[2]) + normal(self.subject_method, METHODS, 1, shape[2])
            # Networks that test several subjects are drawn once for all of these.
            blocks = shape[2] if self.own_networks else self.folds
            seed = normal(of_seed, METHODS, self.seeds, blocks)
            if self.labels_drawn:
                seed = seed + normal(self.labels_drawn, 1, self.seeds, blocks)
                drawn = normal(self.labels_drawn, 1, *shape[1:])
            else:
                drawn = np.zeros((), single)
            seed = np.repeat(seed, shape[2] // blocks, axis=2) + drawn + normal(self.subject_seed, *shape)
            if self.scope == NETWORKS:  # What is given is held equal; the rest is left to chance, as `hidden`.
                given, hidden = subject + seed, noise
            elif self.scope == Scope.THESE_SUBJECTS:
                given, hidden = subject, noise + from_seeds
            else:
                given, hidden = np.zeros((METHODS, 1, 1)), noise + from_seeds + from_subjects
            level = _level(self.accuracy, given, ease, share, np.sqrt(hidden))
            truth = ndtr((level + given[..., None] + ease) / np.sqrt(hidden)[..., None]).mean(axis=(1, 2))
            trial = normal(self.trial, 1, 1, self.subjects, self.trials)
            trial = trial + normal(self.trial_method, METHODS, 1, self.subjects, self.trials)
            trial += ease[self.labels].reshape(self.subjects, self.trials).astype(single)
            trial = trial + (level[..., 0] + subject + seed)[..., None].astype(single)
            right = (generator.random(trial.shape, dtype=single) < ndtr(trial)).reshape(METHODS, self.seeds, -1)
            # A wrong prediction is one of the next three classes.
            other = (self.labels + generator.integers(1, 4, right.shape)) % CLASSES
            yield np.where(right, self.labels, other), truth


def _level(accuracy: float, given: np.ndarray, ease: np.ndarray, share: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """What to add so that each method (or network) is right with a probability; Newton's method."""
    level = ndtri(accuracy) * spread[..., None] * np.ones((*given.shape[:2], 1, 1))
    for _ in range(6):
        z = (level + given[..., None] + ease) / spread[..., None]
        missing = accuracy - (ndtr(z) @ share).mean(axis=2)
        slope = (np.exp(-(z**2) / 2) @ share).mean(axis=2) / np.sqrt(2 * np.pi) / spread[..., 0]
        level = level + (missing / slope)[..., None, None]
    return level


def true_metric(truth: np.ndarray, labels: np.ndarray, metric: str) -> np.ndarray:
    """The metric `(M,)` on endless trials, from each class's chance of being right `(M, K)`."""
    share = np.bincount(labels, minlength=CLASSES) / len(labels)
    if metric == "accuracy":
        return truth @ share
    wrong = share * (1 - truth)
    weights = share if metric == "weighted_f1" else 1 / CLASSES
    predicted = share * truth + sum(np.roll(wrong, step, axis=1) for step in (1, 2, 3)) / 3
    return (weights * 2 * share * truth / (share + predicted)).sum(axis=1)


COLUMNS = {
    "methods": "coverage, methods %",
    "pairs": "coverage, pairs %",
    "baseline": "family-wise error, baseline %",
    "all": "family-wise error, all pairs %",
    "unstable": "coverage, pairs of the unstable %",
    "unstable_baseline": "family-wise error, the unstable as baseline %",
}
COVERAGES, ERRORS = ("methods", "pairs"), ("baseline", "all")


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
        return f"{100 * self.mean(name):.1f} ± {100 * self.error(name):.1f}"

    def mean(self, name: str) -> float:
        """The mean of what was added under a name."""
        return float(np.mean(self.seen[name]))

    def error(self, name: str) -> float:
        """Its standard error."""
        return float(np.std(self.seen[name], ddof=1) / np.sqrt(len(self.seen[name])))

    @property
    def verdict(self) -> str:
        """Whether every promise is kept, within two standard errors: not too rare, not too bold; wider is said."""
        low = any(self.mean(name) + 2 * self.error(name) < COVERED[0] for name in COVERAGES if name in self.seen)
        bold = any(self.mean(name) - 2 * self.error(name) > ERROR for name in ERRORS if name in self.seen)
        wide = any(self.mean(name) - 2 * self.error(name) > COVERED[1] for name in COVERAGES if name in self.seen)
        return "**no**" if low or bold else "wider" if wide else "yes"


Job = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""Of the predictions of one draw and the classes' true chances: what is added to the row's tally."""


def offered_job(
    world: World, way: str, metric: str, methods: int = METHODS, seeds: int | None = None, draws: int = 1000
) -> Job:
    """Coverage and family-wise error of what is offered, in comparisons of the first methods at the first seeds."""
    first, second = np.triu_indices(methods, 1)
    alone = np.eye(methods)
    gaps, scope, subjects = alone[first] - alone[second], Scope(world.scope), Subjects.of(world.who)
    unstable = np.ndim(world.seed) > 0

    def held(found: Inference, truth: np.ndarray) -> np.ndarray:
        return (found.low <= truth) & (truth <= found.high)

    def job(predictions: np.ndarray, chance: np.ndarray) -> dict[str, float]:
        truth = true_metric(chance, world.labels, metric)[:methods]
        scores = _scores(predictions[:methods, :seeds], world, metric)
        values = {}
        if way == "bootstrap":
            found = infer_bootstrap(scores, gaps, scope, draws=draws, seed=0)
        else:  # A method's own interval is always made this way.
            found = infer_t(scores, gaps, scope)
            spread = spread_of(scores.values[:, :, subjects.order], alone, subjects, scope)
            values["methods"] = (np.abs(spread.estimate - truth) <= margin(spread)).mean()
        if metric == "weighted_f1":  # No pairs are compared by it.
            return values
        covered = held(found, gaps @ truth)
        values["pairs"] = covered.mean()
        if unstable:
            values["unstable"] = covered[first == 0].mean()
        # That all methods are equally good holds for the accuracy.
        if metric == "accuracy":
            values["all"] = float((holm(found.p) <= ERROR).any())
            values["baseline"] = float((holm(found.p[second == methods - 1]) <= ERROR).any())
            if unstable:
                values["unstable_baseline"] = float((holm(found.p[first == 0]) <= ERROR).any())
        return values

    return job


def mcnemar_job(world: World) -> Job:
    """Family-wise error of McNemar's test."""

    def job(predictions: np.ndarray, _chance: np.ndarray) -> dict[str, float]:
        tests = mcnemar(_scores(predictions, world, "accuracy"), FIRST, SECOND)
        return {"all": float(any(test.p_holm <= ERROR for test in tests))}

    return job


def ranks_job(world: World) -> Job:
    """Family-wise error of Nemenyi's critical difference, the subjects taken as blocks."""
    # It depends on the numbers of methods and blocks alone, and its quantile takes a while.
    names = [str(m) for m in range(METHODS)]
    critical = compare_ranks(names, np.zeros((METHODS, world.subjects))).critical_difference

    def job(predictions: np.ndarray, _chance: np.ndarray) -> dict[str, float]:
        right = (predictions == world.labels).reshape(METHODS, -1, world.subjects, world.trials)
        ranks = rankdata(-right.mean(axis=(1, 3)), axis=0).mean(axis=1)
        return {"all": float(np.ptp(ranks) > critical)}

    return job


def _scores(predictions: np.ndarray, world: World, metric: str) -> Scores:
    by_name = {f"m{m}": dict(enumerate(by_seed)) for m, by_seed in enumerate(predictions)}
    return from_predictions(by_name, world.labels, world.who, metric=metric)


# What was tried and is not offered: half-widths or limits of the accuracy's intervals, for all contrasts at once.

CONTRASTS = np.concatenate([np.eye(METHODS), np.eye(METHODS)[FIRST] - np.eye(METHODS)[SECOND]])
Rejected = Callable[[np.ndarray, Subjects, Scope, np.ndarray], np.ndarray]


def t_without_seeds(values: np.ndarray, subjects: Subjects, scope: Scope, truth: np.ndarray) -> np.ndarray:
    """Student's t over the trials (or the subjects) alone."""
    spread = spread_of(values, CONTRASTS, subjects, scope)
    return np.abs(spread.estimate - truth) <= stdtrit(spread.unit_df, 0.975) * np.sqrt(spread.mixed)


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
        "t, seeds ignored": t_without_seeds,
    },
    Scope.NEW_SUBJECTS: {
        "percentile bootstrap of subjects and seeds": crossed_percentiles,
        "t over subjects, seeds ignored": t_without_seeds,
        "wild cluster (Webb), seeds ignored": wild_cluster,
    },
}


def rejected_job(world: World, way: Rejected) -> Job:
    """Coverage of what is not offered."""
    subjects, scope = Subjects.of(world.who), Scope(world.scope)

    def job(predictions: np.ndarray, chance: np.ndarray) -> dict[str, float]:
        truth = CONTRASTS @ true_metric(chance, world.labels, "accuracy")
        held = way((predictions == world.labels).astype(np.float64), subjects, scope, truth)
        return {"methods": float(held[:METHODS].mean()), "pairs": float(held[METHODS:].mean())}

    return job


UNSTABLE = (0.15, *[0.03] * (METHODS - 1))
KINDS: dict[str, float | tuple[float, ...]] = {"typical": 0.05, "alike": 0.0, "unlike": 0.08, "one unstable": UNSTABLE}
DESIGNS = ((4, 107), (20, 93))
CEILINGS = {"40 trials at 97 %": (10, 0.97), "428 trials at 99.8 %": (107, 0.998), "80 trials at 98 %": (20, 0.98)}
LABELS = {Scope.THESE_SUBJECTS: "these subjects", Scope.NEW_SUBJECTS: "new subjects"}


def grid(world: World) -> dict[str, Job]:
    """What is offered by default: two and three seeds of two, three and eight methods."""
    return {
        f"t · {methods} methods · {seeds} seeds": offered_job(world, "t", "accuracy", methods, seeds)
        for seeds in (2, 3)
        for methods in (2, 3, METHODS)
    }


def others(world: World) -> dict[str, Job]:
    """What is offered besides, and what was tried and is not."""
    found = {
        "t · weighted F1": offered_job(world, "t", "weighted_f1"),
        "t · macro F1": offered_job(world, "t", "macro_f1"),
    }
    if "bootstrap" in offered(world.scope):
        for seeds in (2, 3):
            for methods in (3, METHODS):
                draws = max(1000, DRAWS_A_PAIR * methods * (methods - 1) // 2)
                name = f"bootstrap · {methods} methods · {seeds} seeds"
                found[name] = offered_job(world, "bootstrap", "accuracy", methods, seeds, draws)
    for name, way in REJECTED[Scope(world.scope)].items():
        found[f"not offered: {name}"] = rejected_job(world, way)
    return found


def worlds() -> Iterator[tuple[str, str, World, dict[str, Job]]]:
    """A name by which rows are asked for, what their seeds are like, the world, and its rows."""
    for design in DESIGNS:
        for kind, seed in KINDS.items():
            for scope in Scope:
                world = World(*design, scope, seed=seed)
                yield LABELS[scope], kind, world, grid(world)
    for name, (trials, accuracy) in CEILINGS.items():
        for kind, world in (
            ("typical", World(4, trials, Scope.THESE_SUBJECTS, accuracy)),
            ("alike", World(4, trials, Scope.THESE_SUBJECTS, accuracy, 0.0, subject_seed=0.0, trial=0.0)),
        ):
            yield f"near the ceiling: {name}", kind, world, grid(world)
    for design in DESIGNS:
        for scope in Scope:
            world = World(*design, scope)
            yield f"other ways: {LABELS[scope]}", "typical", world, others(world)
    for design in DESIGNS:
        world = World(*design, NETWORKS)
        yield "other tests: these trials, these networks", "given", world, {"exact McNemar": mcnemar_job(world)}
    for kind, seed in KINDS.items():
        for design in ((6, 107), (20, 93)):
            world = World(*design, Scope.NEW_SUBJECTS, seed=seed, own_networks=True)
            yield "other tests: new blocks, their own networks", kind, world, {"Nemenyi": ranks_job(world)}
    world = World(*DESIGNS[1], Scope.NEW_SUBJECTS)
    job = {"not offered: Nemenyi over subjects": ranks_job(world)}
    yield "other tests: new subjects, new seeds", "typical", world, job


def folds_and_labels() -> Iterator[tuple[str, str, World, dict[str, Job]]]:
    """Two folds in one table, and a track of few labels; named apart, so that other rows keep their chance."""
    for scope in Scope:
        world = World(8, 107, scope, folds=2)
        yield f"pooled folds: {LABELS[scope]}", "typical", world, grid(world)
    yield from _few_labels("these subjects", "labels drawn by the seed", seed=0.1, subject_seed=0.2, labels_drawn=0.25)
    # As measured: the student alone, whose labels the seed draws, moves by 4.6 points, and other methods by 0.6 to 4.8.
    measured = (0.18, 0.02, 0.05, 0.06, 0.08, 0.09, 0.11, 0.19)
    yield from _few_labels("as measured", "the student alone unstable", seed=measured, subject_seed=0.05)


def _few_labels(who: str, kind: str, **of_seeds: Any) -> Iterator[tuple[str, str, World, dict[str, Job]]]:
    world = World(4, 107, Scope.THESE_SUBJECTS, 0.55, seeds=5, **of_seeds)
    jobs = {
        f"t · {methods} methods · {seeds} seeds": offered_job(world, "t", "accuracy", methods, seeds)
        for seeds in (3, 5)
        for methods in (2, METHODS)
    }
    yield f"few labels: {who}", kind, world, jobs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000, help="simulated results in each row")
    parser.add_argument("--only", default="", help="rows whose world's name begins so")
    chosen = parser.parse_args()
    began = time.process_time()
    head = ("about", "subjects × trials", "seeds differ", "way", "draws", *COLUMNS.values(), "93–97, ≤ 5")
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for number, (about, kind, world, rows) in enumerate(itertools.chain(worlds(), folds_and_labels())):
        if not about.startswith(chosen.only):
            continue
        tallies = {name: Tally() for name in rows}
        for predictions, chance in world.draws(chosen.draws, np.random.default_rng((2024, number))):
            for name, job in rows.items():
                tallies[name].add(**job(predictions, chance))
        for name, tally in tallies.items():
            cells = (*map(tally.cell, COLUMNS), tally.verdict)
            design = f"{world.subjects} × {world.trials}"
            print("| " + " | ".join((about, design, kind, name, str(chosen.draws), *cells)) + " |", flush=True)
    print(f"\n± is the Monte-Carlo standard error; {time.process_time() - began:.0f} s of one core.")


if __name__ == "__main__":
    main()
