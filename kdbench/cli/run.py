"""`kdbench run`: train a method on a data set, and say what came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import asking, completion, options, tracks
from kdbench.cli.console import say, say_loading
from kdbench.errors import UsageError
from kdbench.text.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from kdbench.runs.run import RunResult


def run(
    method: options.Methods = None,
    teacher: options.Teachers = None,
    dataset: options.Datasets = None,
    protocol: options.Protocols = None,
    preset: options.Preset = None,
    video: options.Video = None,
    seed: Annotated[int | None, typer.Option(help="Run one seed (0 by default).", min=0)] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Run the seeds 0 to N-1, each in a process of its own.", min=1)
    ] = None,
    overrides: options.Overrides = None,
    labels: tracks.Labels = None,
    teacher_labels: tracks.TeacherLabels = None,
    pairs: tracks.Pairs = None,
    without: options.Without = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    processes: options.Processes = None,
    precision: options.Precision = None,
    data_dir: options.DataDir = None,
    out: options.Out = None,
    exclude_broken: options.ExcludeBroken = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again, even if finished or half done.")] = False,
    name: Annotated[
        str | None, typer.Option(help="A name of your own, shown in tables; a new name renames a finished run.")
    ] = None,
    suite: Annotated[
        str | None,
        typer.Option(
            help="A suite of `kdbench list suites`, or a YAML file; the other options override it.",
            autocompletion=completion.suites,
        ),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Number of runs at the same time, each in a process of its own.", min=1)
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Time limit for each run: 90s, 45m or 2h; a stopped run can be resumed.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show which runs would be made, with their time and disk space, and exit.")
    ] = False,
    launcher: options.Launcher = None,
    launcher_option: options.LauncherOptions = None,
) -> None:
    """Train methods on data sets and report the results.

    A finished run is shown and not repeated; an interrupted one is resumed. Without a method or a data set, it asks for
    them where it runs in a terminal.
    """
    if seed is not None and seeds is not None:
        raise UsageError("--seed and --seeds exclude each other", hint="--seeds 3 runs the seeds 0, 1 and 2.")
    overrides = [*(overrides or ()), *tracks.settings(labels, teacher_labels, pairs)]
    overrides += [f"without=[{', '.join(without)}]"] if without else []
    methods, teachers, datasets, protocols = method or [], teacher or [], dataset or [], protocol or []
    common: dict[str, Any] = {
        "device": device,
        "threads": threads,
        "processes": processes,
        "precision": precision,
        "data_dir": data_dir,
        "exclude_broken": exclude_broken,
        "out": out,
        "fresh": fresh,
        "name": name,
    }
    several = max(*map(len, (methods, teachers, datasets, protocols)), seeds or 1) > 1
    if several or suite or jobs or timeout or dry_run or launcher or launcher_option:
        from kdbench.cli import grid

        grid.run(
            suite=suite,
            methods=methods,
            teachers=teachers,
            datasets=datasets,
            protocols=protocols,
            seeds=seeds if seed is None else (seed,),
            preset=preset,
            video=video,
            overrides=overrides,
            common=common,
            jobs=jobs or 1,
            timeout=timeout,
            dry_run=dry_run,
            launcher=launcher,
            launcher_options=launcher_option or (),
        )
        return
    methods, datasets, preset = asking.completed(methods, datasets, preset)
    from kdbench.runs.names import check_names

    check_names(methods, datasets, protocols, teachers=teachers, preset=preset, device=device, overrides=overrides)
    from kdbench.text.terminal import SafeConsole as Console

    console = Console()
    say_loading(console)
    from kdbench.runs.request import RunRequest
    from kdbench.runs.run import run_request
    from kdbench.util.progress import reporter_for

    request = RunRequest(
        methods[0],
        datasets[0],
        protocols[0] if protocols else None,
        preset or "auto",
        video,
        teacher=teachers[0] if teachers else None,
        seed=seed or 0,
        overrides=overrides,
        **common,
    )
    show(run_request(request, reporter_for(console)), console)


def show(result: RunResult, console: Console) -> None:
    """Prints one run: its numbers, the conditions they hold under, its cost, and where it lies."""
    from rich.table import Table

    from kdbench.evaluation.metrics import untested
    from kdbench.recipes.pairs import pair_of, title_of
    from kdbench.recipes.track import words_of
    from kdbench.runs.gain import gain_now
    from kdbench.runs.overview import base_of, differing, is_oracle, settings_text
    from kdbench.text.terminal import print_prose
    from kdbench.text.terminal_table import print_table

    record, metrics = result.result, result.metrics
    method, teacher = pair_of(record)
    of = [title_of(method, teacher), *(str(record[key]) for key in ("dataset", "protocol", "preset"))]
    title = ", ".join(filter(None, [*of, words_of(record["conditions"]), f"seed {record['seed']}"]))
    title += " (oracle)" * is_oracle(record["recipe"])
    if record.get("name"):
        title = f"{record['name']}: {title}"
    base = base_of(record)
    if base is not None and (settings := settings_text(dict(differing(record["recipe"], base)))):
        title += f"\n[{settings}]"
    print_prose(console, title, "italic")
    table = Table()
    table.add_column("")
    for column in ("accuracy", "macro F1", "mAP"):
        table.add_column(column, justify="right")
    part = record["conditions"]["part"]
    who = "student" if record["recipe"]["student"] else "teacher"
    probes = metrics.get("probes")
    by = ", linear probe" if probes else ""
    table.add_row(f"{who}{by} ({_seen(record)})", *_percent(metrics), style="bold")
    if metrics.get("inductive"):
        table.add_row("  one trial at a time", *_percent(metrics["inductive"]))
    for key, label in (("cosine_5nn", "by cosine 5-NN"), ("own_logits", "by its own logits")):
        if probes:
            table.add_row(f"  {label}", *(_percent(probes[key]) if probes[key] else ["not trained", ""]))
    for source, without in (metrics.get("without") or {}).items():
        table.add_row(f"  without {source}", *_percent(without))
    named = {f"teacher {name}": report for name, report in (record.get("teachers") or {}).items()}
    taught = {**({"teacher": record["teacher"]} if record.get("teacher") else {}), **named} if who == "student" else {}
    for name, teacher in taught.items():
        leak = " (leaks: trained on these sensor recordings)" if teacher.get("leaks") else ""
        kind = f" ({counted(len(teacher['members']), 'network')})" if teacher.get("members") else ""
        kind += " (trained with the student)" if teacher.get("joint") else ""
        table.add_row(f"{name}{kind}{leak}", *_percent(teacher))
        variants = {"at_student_batch_size": "at the student's batch size", "inductive": "one trial at a time"}
        for key, label in variants.items():
            if teacher.get(key):
                table.add_row(f"  {label}", *_percent(teacher[key]))
    # The student alone may have been run since this run was finished.
    now = gain_now(result.folder.parent, record)
    if gain := now.record():
        table.add_row(f"gain over {now.over}", *(f"{100 * gain[k]:+.2f}" for k in ("accuracy", "macro_f1")))
    print_table(console, table)
    if now.why:
        print_prose(console, f"gain: {now.why}", "dim")
    costs = _cost(record.get("cost") or {}, with_teacher=who == "student")
    print_prose(console, " · ".join([f"{part} part, {counted(metrics['n'], 'trial')}", *costs]))
    if left_out := untested(metrics):
        print_prose(console, left_out, "dim")
    # A run that was made just now has told them.
    for warning in record.get("warnings") or () if result.reused else ():
        print_prose(console, f"warning: {warning}", "yellow")
    if record["preset"] == "smoke":
        print_prose(console, "preset smoke shows that everything works; its numbers mean nothing", "dim")
    picture = "learning_curves.png" if (result.folder / "learning_curves.png").is_file() else "confusion_matrix.png"
    say(console, f"pictures: {result.folder / picture}")
    say(console, f"folder:   {result.folder}")


def _operations(flops: int) -> str:
    return f"{flops / 1e9:.2f} GFLOPs" if flops >= 1e8 else f"{flops / 1e6:.2f} MFLOPs"


def _seen(record: dict[str, Any]) -> str:
    return ", ".join(record["conditions"]["test_modalities"])


def _cost(cost: Mapping[str, Any], *, with_teacher: bool) -> Iterator[str]:
    """What a run cost, as far as it was recorded."""
    from kdbench.util.progress import duration

    def has(*keys: str) -> bool:
        return all(cost.get(key) is not None for key in keys)

    if has("parameters"):
        yield f"{cost['parameters'] / 1e6:.2f} M parameters"
    if has("flops", "latency_ms"):
        yield f"{_operations(cost['flops'])} and {cost['latency_ms']:.1f} ms per trial"
    if has("train_seconds"):
        epoch = f" ({cost['seconds_per_epoch']:.2f} s per epoch)" if has("seconds_per_epoch") else ""
        teacher = (
            f" + teacher {duration(cost['teacher_seconds'])}" if cost.get("teacher_seconds") and with_teacher else ""
        )
        yield f"{duration(cost['train_seconds'])} of training{epoch}{teacher}"
    if has("peak_memory_bytes"):
        yield f"{cost['peak_memory_bytes'] / 2**30:.1f} GiB peak memory"
    if has("wait_share"):
        yield f"{100 * cost['wait_share']:.1f} % of the training spent waiting for data"


def _percent(metrics: Mapping[str, Any]) -> list[str]:
    """Accuracy, macro F1 and mAP, as far as they were recorded."""
    return ["" if metrics.get(key) is None else f"{100 * metrics[key]:.2f}" for key in ("accuracy", "macro_f1", "map")]
