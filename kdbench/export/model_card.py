"""The model card of an export: what the student was trained on, how well it does, for whom, and where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kdbench.data.card import SUBJECT
from kdbench.data.readers.kinds import series_kind, video_kind
from kdbench.export.opened import OpenedRun
from kdbench.students.schema import Export, SeriesFile, SeriesInput, VideoInput
from kdbench.text.wording import counted

_CONDITIONS = ("version", "protocol", "preset", "part", "selection", "precision", "device", "threads")
_FEW = 5
"""Classes of the lowest recall that are named."""


def model_card(opened: OpenedRun, export: Export) -> str:
    """The card as Markdown.

    Args:
        opened: The run.
        export: What `export.json` will say.
    """
    card, run = opened.context.run_spec.dataset.card, export.run
    parts = [
        f"# {run['method']} on {card.title}",
        f"A student that tells {counted(len(export.classes), 'class')} apart from {_sees(export)}. "
        f"It was trained by kdbench {export.kdbench} ({_taught(run)}) and exported as {export.format}.",
        *_data(card, opened),
        *_input_lines(export.inputs),
        *_scores(opened, export),
        *_subjects(opened),
        *_classes(opened),
        *_cost(export),
        *_limits(opened, export),
        *_conditions(export),
    ]
    return "\n\n".join(parts) + "\n"


def _sees(export: Export) -> str:
    names = [
        f"{entry.view} video" if isinstance(entry, VideoInput) else f"the {entry.source}" for entry in export.inputs
    ]
    return " and ".join(names)


def _taught(run: dict[str, Any]) -> str:
    by = f", taught by the teacher `{run['taught_by']}`" if run.get("taught_by") else ""
    return f"method `{run['method']}`{by}, preset `{run['preset']}`, seed {run['seed']}"


def _data(card: Any, opened: OpenedRun) -> list[str]:
    counts = opened.run.result.get("trials") or {}
    trials = ", ".join(f"{counts[part]} trials {part}" for part in ("train", "validation", "test") if counts.get(part))
    rule = card.protocols.get(opened.context.run_spec.protocol)
    lines = [f"- Data set: {card.title} (`{card.name}`, version {card.version})"]
    lines += [f"- Cite: {_line(card.citation)}"] if card.citation else []
    lines += [f"- Licence of the recordings: {_line(card.licence)}"] if card.licence else []
    title = f": {rule.title}" if rule is not None and rule.title else ""
    lines += [f"- Protocol: `{opened.context.run_spec.protocol}`{title}" + (f" ({trials})" if trials else "")]
    lines += ["- The weights are derived from these recordings: what their licence asks for holds for them too."]
    return ["## Data", "\n".join(lines)]


def _input_lines(inputs: Sequence[SeriesInput | VideoInput]) -> list[str]:
    lines = []
    for entry in inputs:
        if isinstance(entry, VideoInput):
            shown = f"{entry.frames} frames, spread over the whole recording, are shown to the network at "
            shown += f"{entry.frame_size}² pixels"
            lines.append(
                f"- `{entry.source}`: {video_kind(entry.kind).takes}; {entry.rate_hz:g} frames a second, recorded as "
                f"{entry.height}×{entry.width}; {shown}"
            )
        else:
            length = "at their own length"
            if entry.samples is not None:
                length = f"the whole recording resampled to {entry.samples}"
            worn = f"; worn: {entry.placement}" if entry.placement else ""
            axes = ", ".join(entry.axes) if len(entry.axes) <= _FEW else counted(len(entry.axes), "axis", "axes")
            lines.append(
                f"- `{entry.source}`: {series_kind(entry.kind).takes}, {axes} in {entry.unit} at {entry.rate_hz:g} Hz, "
                f"{length}{worn}"
            )
            lines += [f"  - files ({entry.file.ending}): {_file(entry.file)}"] if entry.file is not None else []
        lines += [f"  - over the whole recording: {what}" for what in entry.needs_trial]
    return ["## What it takes", "\n".join(lines)]


def _file(file: SeriesFile) -> str:
    """How files of a series are read, in words."""
    columns = "columns called as the axes are, or all but the time"
    if file.columns is not None:
        named = [f"number {column}" if isinstance(column, int) else f"`{column}`" for column in file.columns[:_FEW]]
        columns = f"columns {', '.join(named)}" + (", …" if len(file.columns) > _FEW else "")
    time = "" if file.time is None else f"; evened by the times in column `{file.time.column}` ({file.time.unit})"
    return columns + time + (f"; values times {file.factor:g}" if file.factor != 1 else "")


def _scores(opened: OpenedRun, export: Export) -> list[str]:
    metrics = opened.run.metrics
    rows = [("accuracy", metrics["accuracy"]), ("macro F1", metrics["macro_f1"])]
    rows += [("weighted F1", metrics["weighted_f1"])]
    rows += [("mean average precision", metrics["map"])] if metrics.get("map") is not None else []
    rows += [("calibration error (ECE)", metrics["ece"])] if metrics.get("ece") is not None else []
    text = [
        f"## How well it does\n\nOn the {export.parity.part} part, {metrics['n']} trials, of the run that it comes "
        "from; the export gives each of them the same class, and logits that differ by at most "
        f"{export.parity.largest_difference:.1e}.",
        _table(("", "%"), [(name, f"{100 * value:.2f}") for name, value in rows]),
    ]
    if (gain := opened.run.result.get("gain")) and isinstance(gain.get("accuracy"), int | float):
        text.append(f"Over the student alone, trained likewise: {100 * gain['accuracy']:+.2f} points of accuracy.")
    return text


def _subjects(opened: OpenedRun) -> list[str]:
    table = opened.context.run_spec.dataset.table(opened.tested.trials.tolist())
    if SUBJECT not in table.columns:
        return ["## Subjects", "The data set does not tell its subjects apart."]
    right = opened.tested.predicted[0] == opened.tested.labels
    subjects = table[SUBJECT].to_numpy()
    rows = [
        (str(subject), str(int(mine.sum())), f"{100 * right[mine].mean():.2f}")
        for subject in sorted(set(subjects.tolist()), key=lambda each: (len(str(each)), str(each)))
        for mine in [subjects == subject]
    ]
    return ["## Subjects", _table(("subject", "trials", "accuracy, %"), rows)]


def _classes(opened: OpenedRun) -> list[str]:
    recall = {name: value for name, value in opened.run.metrics["per_class_recall"].items() if value is not None}
    worst = sorted(recall.items(), key=lambda item: item[1])[:_FEW]
    rows = [(_cell(name), f"{100 * value:.1f}") for name, value in worst]
    return [
        f"## Classes\n\nThe {len(worst)} of {len(recall)} that it finds least often:",
        _table(("class", "recall, %"), rows),
    ]


def _cost(export: Export) -> list[str]:
    latency = export.latency
    before = "" if latency.preprocessing_ms is None else f" and {latency.preprocessing_ms:.1f} ms of preprocessing"
    rows = [
        ("file of the network", f"{export.size_bytes / 2**20:.2f} MiB"),
        ("parameters", f"{export.parameters:,}"),
        ("operations for a recording", f"{export.flops / 1e9:.3f} GFLOP"),
        (
            "time for a recording",
            f"{latency.network_ms:.1f} ms{before} (batch 1, threads: {latency.threads}, {latency.runtime}, "
            f"{latency.processor})",
        ),
    ]
    text = ["## Cost", _table(("", ""), rows)]
    if (eight := export.int8) is not None:
        text.append(
            f"In 8 bits (`{eight.file}`): accuracy {100 * eight.scores.accuracy:.2f} %, "
            f"{eight.size_bytes / 2**20:.2f} MiB, {eight.network_ms:.1f} ms (in 32 bits "
            f"{eight.network_ms_in_32_bits:.1f} ms); the class is the same for "
            f"{100 * eight.agreement:.2f} % of the trials."
        )
    return text


def _limits(opened: OpenedRun, export: Export) -> list[str]:
    lines = [
        f"- It knows {counted(len(export.classes), 'class')} and names one of them for whatever it is shown; "
        "a low probability is its only sign of doubt.",
        "- A recording is one action from its beginning to its end, as in the data set.",
        "- Other people, places, sensors and ways to wear them are not what it was tested on.",
    ]
    if opened.context.run_spec.dataset.view is not None and _of_one_camera(export):
        lines.append("- The camera of the data set: another lens, height or distance was not tested.")
    if export.needs_trial:
        what = "; ".join(part for parts in export.needs_trial.values() for part in parts)
        lines.append(f"- Its preprocessing looks at the whole recording ({what}).")
    if (whole := export.alone) is not None:
        lines.append(
            "- Trials are cut to the time that all their streams cover, which one file does not tell: given whole "
            f"files, accuracy is {100 * whole.scores.accuracy:.2f} % instead of {100 * export.scores.accuracy:.2f} %, "
            f"and the class is the same for {100 * whole.agreement:.2f} % of {counted(whole.trials, 'trial')}."
        )
    if (files := opened.context.run_spec.dataset.card.files) is not None and files.windows is not None:
        lines.append(
            f"- It was trained on windows of {files.windows.seconds:g} s: ask it for longer recordings by "
            "`kdbench stream`."
        )
    if export.causal is not None:
        causal = export.causal
        lines.append(
            f"- Without the future ({causal.method}) accuracy is {100 * causal.running.accuracy:.2f} % instead of "
            f"{100 * causal.whole.accuracy:.2f} %; as a stream of windows {100 * causal.windows.accuracy:.2f} %."
        )
    return ["## Limits", "\n".join(lines)]


def _of_one_camera(export: Export) -> bool:
    return any(isinstance(entry, VideoInput) for entry in export.inputs)


def _conditions(export: Export) -> list[str]:
    rows = [(key, _cell(str(export.conditions[key]))) for key in _CONDITIONS if export.conditions.get(key) is not None]
    return [
        "## Conditions of these numbers",
        _table(("", ""), rows),
        "All of them, and the hashes, are in `export.json`.",
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", r"\|")
