"""Exporting a run: the network is written, asked for every trial, measured, and only then given its name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.engine.device import fixed_threads
from kdbench.errors import UsageError, unknown
from kdbench.export import describe, parity
from kdbench.export.alone import measured as whole_files
from kdbench.export.causal import check_causal, measure
from kdbench.export.graph import OPSET, write_graph
from kdbench.export.int8 import FILE as INT8_FILE
from kdbench.export.int8 import quantised
from kdbench.export.litert import check_litert, write_litert
from kdbench.export.model_card import model_card
from kdbench.export.opened import OpenedRun, open_run
from kdbench.export.speed import latency_of
from kdbench.export.trials import Trials, trials_of, window_of
from kdbench.runs import cost
from kdbench.runs.find import find_run
from kdbench.students.schema import CARD, FORMATS, RECORD, SCHEMA_VERSION, Export, SeriesInput, VideoInput
from kdbench.students.student import Program
from kdbench.students.torch_program import RawToLogits, TorchProgram, rebuilt
from kdbench.text.wording import some
from kdbench.util.files import unwritable
from kdbench.util.paths import runs_folder
from kdbench.util.progress import Reporter
from kdbench.util.records import hashes, sealed, write_bytes, write_json, write_safetensors

_NAMED = 3
_FILES = {"onnx": "model.onnx", "torch": "model.safetensors", "litert": "model.tflite"}
_NEEDS = {
    "onnx": ["numpy", "onnxruntime"],
    "torch": ["numpy", "safetensors", "torch"],
    "litert": ["numpy", "ai-edge-litert"],
}
_OF_VIDEO = ["pillow"]
THREADS = 1


@dataclass(frozen=True)
class Exported:
    """A finished export.

    Attributes:
        folder: Where it lies.
        export: What its `export.json` says.
    """

    folder: Path
    export: Export


def export_run(
    run: str | Path,
    *,
    format: str = "onnx",  # noqa: A002 - the option's name
    causal: bool = False,
    int8: bool = False,
    converter: Path | None = None,
    to: Path | None = None,
    dataset: str | None = None,
    data_dir: Path | None = None,
    out: Path | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Exports the student of a finished run; what `kdbench export` does. Nothing is trained.

    The network is written, then asked for every trial of the reported part, from the trials' files where they can be
    read: the logits have to be those that the run has stored, to 1e-4, and the classes the same.

    Args:
        run: Its folder, name or id.
        format: `onnx`; `litert`, for phones; or `torch`: safetensors, and a recipe from which the network is rebuilt.
            A program of `torch.export` would tie the file to one version of torch.
        causal: Measure what it costs the student not to know the future and to see windows, as streams have them.
        int8: Add the same network in 8 bits, of an ONNX export.
        converter: A Python that has litert-torch, which makes LiteRT models; by default this one.
        to: Folder of the export; `export-FORMAT` in the run's own by default. An earlier export there is replaced.
        dataset: The data set's card, where the run's name of it is no longer known.
        data_dir: Where the data sets lie.
        out: Folder of the runs; by default `$KDBENCH_HOME`, else `./runs`.
        reporter: Shows the progress; silent by default.

    Raises:
        UsageError: No such run or format, a run that cannot be exported, or a folder that holds something else.
        DataError: Data or files of the run are missing, broken, or not the run's.
        RunFailed: The export does not predict what the run has stored; none is left behind.
    """
    if format not in FORMATS:
        raise unknown(
            "format of an export", format, FORMATS, hint="Leave --format out: onnx, which runs without torch."
        )
    if int8 and format != "onnx":
        raise UsageError(
            f"--int8 is for ONNX, and the format is {format}", hint="Leave one of them out: --format onnx --int8"
        )
    if converter is not None and format != "litert":
        raise UsageError(
            f"--converter is for LiteRT, and the format is {format}", hint="Leave it out, or say --format litert"
        )
    if format == "litert":
        check_litert(converter)
    reporter = reporter or Reporter()
    stored = find_run(run, runs_folder(out))
    folder = Path(to) if to is not None else stored.folder / f"export-{format}"
    _check_folder(folder)
    opened = open_run(stored, dataset=dataset, data_dir=data_dir)
    if folder.is_dir():
        reporter.message(f"replacing the export in {folder}")
    with fixed_threads(THREADS), _unfinished(folder) as place:
        made = _write(opened, format, place, data_dir, reporter, causal=causal, int8=int8, converter=converter)
    return Exported(folder, made)


def _write(
    opened: OpenedRun,
    format: str,  # noqa: A002
    place: Path,
    data_dir: Path | None,
    reporter: Reporter,
    *,
    causal: bool,
    int8: bool,
    converter: Path | None,
) -> Export:
    facts = opened.facts
    # What is exported is what will be loaded: the network as it is rebuilt.
    module = RawToLogits(rebuilt(facts, opened.state)).eval()
    inputs = describe.inputs_of(opened, module.reads)
    trials = trials_of(opened, inputs, data_dir)
    if causal:
        check_causal(trials)
    name = _FILES[format]
    reporter.message(f"writing {name}")
    _write_network(format, module, opened, inputs, place / name, converter)
    program = _program(format, place / name, facts, inputs)
    logits = parity.predicted(program, trials, reporter)
    agreed = parity.compared(logits, trials)
    reporter.message("measuring")
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kdbench": _version(),
        "format": format,
        "program": {
            "file": name,
            "opset": OPSET if format == "onnx" else None,
            "network": facts if format == "torch" else None,
            "needs": [*_NEEDS[format], *(_OF_VIDEO if _sees_video(inputs) else [])],
        },
        "classes": [entry.model_dump() for entry in describe.classes_of(opened)],
        "inputs": [entry.model_dump() for entry in inputs],
        "window": window_of(trials).model_dump(),
        "files": {},
        "parity": agreed.model_dump(),
        "size_bytes": (place / name).stat().st_size,
        "parameters": cost.parameters(module),
        "flops": _flops(module, trials),
        "latency": latency_of(program, trials).model_dump(),
        "scores": describe.scores_of(opened).model_dump(),
        "causal": None,
        "alone": None if (alone := whole_files(program, trials, reporter)) is None else alone.model_dump(),
        "int8": None,
        "run": describe.run_facts(opened),
        "conditions": dict(opened.run.conditions),
    }
    if int8:
        names = [entry["name"] for entry in content["classes"]]
        eight = quantised(place / name, trials, program, logits, classes=names, reporter=reporter)
        content["int8"] = eight.model_dump()
    if causal:
        content["causal"] = measure(program, trials, _draft(content), reporter).model_dump()
    return _finish(opened, content, place)


def _draft(content: dict[str, Any]) -> Export:
    """The export as it will be, with hashes still to come."""
    named = [content["program"]["file"], *([content["int8"]["file"]] if content["int8"] else []), CARD]
    return Export.model_validate({**content, "files": dict.fromkeys(named, "0" * 64), "sha256": "0" * 64})


def _finish(opened: OpenedRun, content: dict[str, Any], place: Path) -> Export:
    """Writes the model card and, last, `export.json`."""
    named = [content["program"]["file"], *([content["int8"]["file"]] if content["int8"] else [])]
    write_bytes(place / CARD, model_card(opened, _draft(content)).encode())
    content["files"] = hashes(place, sorted((*named, CARD)))
    whole = sealed(content, place / RECORD)
    made = Export.model_validate(whole)
    write_json(place / RECORD, whole)
    return made


def _program(format: str, path: Path, facts: dict[str, Any], inputs: Sequence[SeriesInput | VideoInput]) -> Program:  # noqa: A002
    """What the export will be run by."""
    named = [entry.tensor for entry in inputs]
    if format == "torch":
        return TorchProgram(path, facts, named, THREADS)
    if format == "litert":
        from kdbench.students.litert_program import LitertProgram

        return LitertProgram(path, named, THREADS)
    from kdbench.students.onnx_program import OnnxProgram

    return OnnxProgram(path, named, THREADS)


def _write_network(
    format: str,  # noqa: A002
    module: RawToLogits,
    opened: OpenedRun,
    inputs: Sequence[SeriesInput | VideoInput],
    path: Path,
    converter: Path | None,
) -> None:
    if format == "onnx":
        write_graph(module, inputs, path)
    elif format == "litert":
        write_litert(module, inputs, path, converter)
    else:
        write_safetensors(path, opened.state)


def _sees_video(inputs: Sequence[SeriesInput | VideoInput]) -> bool:
    return any(isinstance(entry, VideoInput) for entry in inputs)


def _flops(module: RawToLogits, trials: Trials) -> int:
    import torch

    tensors = trials.tensors(next(iter(trials)))
    raw = [torch.from_numpy(tensors[entry.tensor].copy()) for entry in trials.inputs]
    return cost.flops(lambda: module(*raw))


def _version() -> str:
    from kdbench import __version__

    return __version__


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", hint="Name a folder: --to FOLDER")
    if not folder.is_dir():
        return
    there = sorted(path.name for path in folder.iterdir())
    known = {RECORD, CARD, INT8_FILE, *_FILES.values()}
    if there and RECORD not in there:
        raise UsageError(
            f"{folder} holds something else than an export, which would be lost", hint="Name another: --to FOLDER"
        )
    if others := [name for name in there if name not in known]:
        raise UsageError(
            f"{folder} holds {some(others, _NAMED)} beside an export, which would be lost",
            hint="Move it away, or name another folder: --to FOLDER",
        )


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder beside the one that is meant, which takes its place when the block ends without an error."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    except OSError as error:
        raise unwritable(error, folder, elsewhere="Name another folder: --to FOLDER") from error
    try:
        yield place
        place.chmod(0o755)
        if folder.is_dir():
            shutil.rmtree(folder)
        place.rename(folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)
