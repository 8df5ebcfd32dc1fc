"""`kdbench export`: the student of a finished run, to be used without the bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli import completion, options
from kdbench.cli.console import say, say_loading
from kdbench.errors import UsageError


def export(
    run: Annotated[
        str | None,
        typer.Argument(
            help="A run: its folder, id or name, or the beginning of these.", autocompletion=completion.runs
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        str,
        typer.Option(
            help="onnx; torch: safetensors and what the network is rebuilt from; or litert, for phones.",
            autocompletion=completion.export_formats,
        ),
    ] = "onnx",
    causal: Annotated[
        bool,
        typer.Option(
            "--causal",
            help="Measure what it costs not to know the future, and to see windows in place of whole recordings.",
        ),
    ] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Add the same network in 8 bits; calibrated on trials of the training part.")
    ] = False,
    converter: Annotated[
        Path | None,
        typer.Option(
            help="For litert: a Python that has litert-torch, such as litert/bin/python; this one by default."
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder of the export; export-FORMAT in the run's own by default.")
    ] = None,
    dataset: options.CardOfRun = None,
    data_dir: options.DataDir = None,
    out: options.Out = None,
) -> None:
    """Export the student of a finished run: its network, its whole preprocessing, and how well both hold.

    Every trial of the reported part is predicted by the export, from its files where they can be read; where a logit
    differs from the run's by more than 1e-4, there is no export.
    """
    if run is None:
        raise UsageError(
            "no run is named", hint="See them: kdbench runs list. For example: kdbench export sgm_ft-utd_mhad"
        )
    from kdbench.runs.find import find_run
    from kdbench.text.terminal import SafeConsole as Console
    from kdbench.util.paths import runs_folder

    # What is no run is told before torch is loaded.
    find_run(run, runs_folder(out))
    console = Console()
    say_loading(console, "the parts of the run")
    from kdbench.export.make import export_run
    from kdbench.util.progress import reporter_for

    made = export_run(
        run,
        format=format,
        causal=causal,
        int8=int8,
        converter=converter,
        to=to,
        dataset=dataset,
        data_dir=data_dir,
        out=out,
        reporter=reporter_for(console),
    )
    parity, latency, facts = made.export.parity, made.export.latency, made.export
    say(
        console,
        f"parity: {parity.trials} trials of the {parity.part} part, largest difference of a logit "
        f"{parity.largest_difference:.1e}, every class the same",
    )
    before = "" if latency.preprocessing_ms is None else f", {latency.preprocessing_ms:.1f} ms before it"
    say(
        console,
        f"network: {facts.size_bytes / 2**20:.2f} MiB, {facts.parameters:,} parameters, "
        f"{facts.flops / 1e9:.3f} GFLOP; {latency.network_ms:.1f} ms a recording{before} "
        f"(batch 1, threads: {latency.threads}, {latency.runtime})",
    )
    if (eight := facts.int8) is not None:
        say(
            console,
            f"in 8 bits: {eight.size_bytes / 2**20:.2f} MiB, {eight.network_ms:.1f} ms (in 32 bits "
            f"{eight.network_ms_in_32_bits:.1f} ms), accuracy "
            f"{100 * eight.scores.accuracy:.2f} % (in 32 bits {100 * facts.scores.accuracy:.2f} %), the same class for "
            f"{100 * eight.agreement:.2f} % of the trials",
        )
    if (known := facts.causal) is not None:
        say(
            console,
            f"without the future: accuracy {100 * known.running.accuracy:.2f} % with running preprocessing, "
            f"{100 * known.windows.accuracy:.2f} % in windows of {known.window_seconds:.2f} s, "
            f"{100 * known.whole.accuracy:.2f} % with whole recordings",
        )
    if (whole := facts.alone) is not None:
        say(
            console,
            f"whole files, which nothing cuts by the clock: accuracy {100 * whole.scores.accuracy:.2f} % (cut "
            f"{100 * facts.scores.accuracy:.2f} %), the same class for {100 * whole.agreement:.2f} % of the trials",
        )
    say(console, f"export: {made.folder}")
