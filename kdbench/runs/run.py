"""One run from its names to its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kdbench.data.store.blank import is_made_up
from kdbench.engine.device import device_kind, fixed_threads
from kdbench.errors import RunFailed
from kdbench.network.sharing import ALONE, Processes
from kdbench.recipes.pairs import pair_of, title_of
from kdbench.runs.ahead import check_parts
from kdbench.runs.context import RunContext, context_for, settled, spec_for
from kdbench.runs.earlier import before, tell_other_versions
from kdbench.runs.execution import Run
from kdbench.runs.folder import FRESH, clear, finished, locked, replace_by_fresh, tidy
from kdbench.runs.idle import refuse_idle
from kdbench.runs.naming import renamed
from kdbench.runs.request import RunRequest, excluding
from kdbench.runs.store import RESULT
from kdbench.runs.together import launch, refuse_unshared
from kdbench.text.terminal import console
from kdbench.util.notebook import NotebookReporter, in_notebook
from kdbench.util.progress import LineReporter, Reporter, is_interactive


@dataclass(repr=False, frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        folder: Where everything about it lies.
        result: What its `run.json` says.
        reused: Whether it had been finished before.
    """

    folder: Path
    result: dict[str, Any]
    reused: bool

    def __repr__(self) -> str:
        """What it is a run of and what came out, in two lines."""
        of = ", ".join(str(self.result[key]) for key in ("dataset", "protocol", "preset"))
        scores = f"accuracy {100 * self.metrics['accuracy']:.2f} %, macro F1 {100 * self.metrics['macro_f1']:.2f} %"
        return f"{title_of(*pair_of(self.result))} on {of}, seed {self.result['seed']}: {scores}\n  {self.folder}"

    def _repr_html_(self) -> str:
        """Scores and learning curves, for a notebook."""
        from kdbench.runs.notebook import html

        return html(self.folder, self.result)

    @property
    def metrics(self) -> dict[str, Any]:
        """The metrics of the reported network."""
        metrics: dict[str, Any] = self.result["metrics"]
        return metrics

    def predictions(self) -> pd.DataFrame:
        """The table of `predictions.parquet`: trial, label, shuffle, and a logit per class."""
        return pd.read_parquet(self.folder / "predictions.parquet")


def run(
    method: str,
    dataset: str,
    *,
    teacher: str | None = None,
    protocol: str | None = None,
    preset: str = "auto",
    video: str | None = None,
    seed: int = 0,
    overrides: Sequence[str] | Mapping[str, Any] = (),
    device: str = "auto",
    threads: int | None = None,
    processes: int | None = None,
    precision: str | None = None,
    data_dir: Path | None = None,
    exclude_broken: bool = False,
    out: Path | None = None,
    fresh: bool = False,
    name: str | None = None,
    reporter: Reporter | None = None,
    progress: bool | None = None,
    allow_broken: bool | None = None,
) -> RunResult:
    """Trains and evaluates a method on a data set; what `kdbench run` does.

    A finished run is returned, an interrupted one goes on where it was, and both end with the same numbers.

    Args:
        method: Name of a recipe, or path of a YAML file.
        dataset: Name of a data set, or path of a card.
        teacher: Name of a teacher, or path of a YAML file; by default the method's own.
        protocol: The split; by default the first of the card.
        preset: `paper`, `small`, `smoke`, or `auto`: `paper` with a GPU, else `small`.
        video: The student's view (`depth`, `rgb`, …); by default the best that is there.
        seed: The run's seed.
        overrides: Changes of the recipe, `a.b.c=value` strings, or a mapping, nested or with dotted keys.
        device: `auto`, `cpu` or `cuda`.
        threads: Threads on a CPU, whatever the environment says: 1 by default. Another number rounds otherwise, so it
            is another run and another condition. On a GPU it is not used.
        processes: Processes that make the run together, each with a GPU of its own, or on the CPU. Its numbers are
            those of one process up to rounding; how many there are is one of the conditions.
        precision: `fp32` or `bf16`; by default what the recipe says.
        data_dir: Where the data sets lie; by default `$KDBENCH_DATA`, `./data`, then the cache folder.
        exclude_broken: Leave out trials whose files are missing or broken; the result names them.
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        fresh: Start anew even where the run is finished or half done; a finished result stays until the new one is.
        name: What tables call the run; it changes no number. Another name for a finished run renames it, an empty one
            takes its name away.
        reporter: Shows the progress; by default bars in a notebook, a plain log in an interactive session, else
            nothing.
        progress: Whether the default reporter shows anything; None: in a notebook or an interactive session.
        allow_broken: The former name of `exclude_broken`.

    Raises:
        UsageError: Names or values that do not exist or do not fit together.
        DataError: Data that are missing or broken.
        RunFailed: A training that cannot go on.
        Interrupted: Ctrl-C; repeating the call resumes.
    """
    request = RunRequest(
        method=method,
        dataset=dataset,
        teacher=teacher,
        protocol=protocol,
        preset=preset,
        video=video,
        seed=seed,
        overrides=overrides,
        device=device,
        threads=threads,
        processes=processes,
        precision=precision,
        data_dir=data_dir,
        exclude_broken=excluding(exclude_broken, allow_broken),
        out=out,
        fresh=fresh,
        name=name,
    )
    shown = is_interactive() if progress is None else progress
    if reporter is not None or not shown:
        return run_request(request, reporter, shown=progress is not False)
    if not in_notebook():
        return run_request(request, LineReporter(console()))
    bars = NotebookReporter()
    try:
        return run_request(request, bars)
    finally:
        bars.close()


def run_request(
    request: RunRequest, reporter: Reporter | None = None, *, shown: bool = True, processes: Processes = ALONE
) -> RunResult:
    """Makes the run that is asked for; errors as in `run`.

    Args:
        request: The run.
        reporter: Shows the progress.
        shown: Whether the preparing of data shows its progress.
        processes: Those that make it together, as this one of them sees them; where there are to be several and this
            is none of them, they are started.
    """
    reporter = reporter or Reporter()
    request = settled(request, reporter)
    refuse_idle(request)
    refuse_unshared(request.recipe, request.processes, device_kind(request.device))
    if (request.processes or 1) > processes.count:
        return _run_together(request, reporter, shown=shown)
    context = context_for(request, reporter, shown=shown, look_ahead=True, processes=processes)
    if is_made_up(context.run_spec.dataset):
        # What cannot be built, such as a network whose weights are missing, shows before minutes of preparing.
        with fixed_threads(context.run_spec.threads):
            check_parts(context)
        context = context_for(request, reporter, shown=shown, processes=processes)
    result = run_in(context, request.root, fresh=request.fresh)
    processes.summon(context.accelerator.device)
    return result


def _run_together(request: RunRequest, reporter: Reporter, *, shown: bool) -> RunResult:
    """Makes a run in several processes, and reads what they wrote."""
    # The data are prepared here, once.
    spec = spec_for(request, reporter, shown=shown)
    folder = request.root / spec.folder
    launch(request, request.processes or 1, request.root, shown=type(reporter) is not Reporter)
    done, wrong = finished(folder)
    if done is None:
        raise RunFailed(f"the processes ended without a result: {wrong or folder}", hint="Repeat the same command.")
    return RunResult(folder, done, reused=False)


def run_in(context: RunContext, root: Path, *, within: str = "", fresh: bool = False) -> RunResult:
    """Makes a run that is settled already; errors as in `run`.

    Args:
        context: The run.
        root: Folder of all runs, with their teachers and their mirror.
        within: Folder below `root` that holds the run's own folder.
        fresh: Start anew even where the run is finished or half done.
    """
    folder = root / within / context.run_spec.folder
    with fixed_threads(context.run_spec.threads), locked(folder):
        tidy(folder, context.warn)
        done, wrong = finished(folder)
        newer = folder / FRESH
        if done is not None and not fresh and not newer.is_dir():
            context.reporter.message(f"this run is finished already: {folder} (--fresh trains it again)")
            return RunResult(folder, renamed(folder, done, context.name), reused=True)
        if done is None and wrong is None:
            if fresh:
                clear(folder)
            tell_other_versions(context, folder)
            return RunResult(folder, Run(context, root, folder, fresh).execute(), reused=False)
        if wrong is not None:
            context.warn(f"the finished run is damaged, and is trained again: {wrong}")
        if fresh:
            clear(newer)
        elif newer.is_dir() and wrong is None:
            context.reporter.message(
                f"going on with the training anew (--fresh) that was stopped; the finished result stays until it ends. "
                f"To keep that one: rm -r {newer}"
            )
        # What is trained anew keeps the name that the run has.
        if context.name is None:
            context.name = before(folder / RESULT).name
        result = Run(context, root, newer, fresh).execute()
        replace_by_fresh(folder)
        return RunResult(folder, result, reused=False)
