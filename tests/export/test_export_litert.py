"""Exports for phones: where the converter is installed, every network of the benchmark's own; else what to install."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exports import ACCELEROMETER, a_run, depth_file, inertial_file, world

import kdbench
from kdbench.errors import UsageError
from kdbench.export.litert import write_litert
from kdbench.export.make import Exported, export_run

CONVERTER = os.environ.get("KDBENCH_LITERT_PYTHON")
converts = pytest.mark.skipif(CONVERTER is None, reason="$KDBENCH_LITERT_PYTHON names no Python with litert-torch")
GAF = ("student.representation.name=gaf", "student.representation.image_size=32", "student.encoder.name=conv2d")


def converted(method: str, to: Path, *overrides: str) -> Exported:
    return export_run(
        a_run(method, *overrides).folder,
        format="litert",
        converter=Path(str(CONVERTER)),
        to=to,
        dataset=str(world() / "card.yaml"),
        data_dir=world() / "data",
    )


@pytest.fixture(autouse=True)
def _cache_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_CACHE", str(world() / "cache"))


@converts
@pytest.mark.slow
@pytest.mark.parametrize("method", ["student_only", "student_only_sensor"])
def test_a_model_for_phones_predicts_each_file_as_the_run_did(
    method: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = converted(method, tmp_path / "export")
    assert made.export.parity.largest_difference <= 1e-4
    assert made.export.latency.runtime.startswith("LiteRT ")
    capfd.readouterr()
    student = kdbench.load_student(made.folder)
    table = a_run(method).predictions().set_index("trial")
    for trial, row in table[[name for name in table.columns if name.startswith("logit_")]].iterrows():
        file = depth_file(str(trial)) if method == "student_only" else inertial_file(str(trial))
        expected = np.exp(row.to_numpy() - row.max())
        np.testing.assert_allclose(student.predict(file).probabilities, expected / expected.sum(), atol=2e-4)
    # What the interpreter tells is no part of a command's output.
    assert capfd.readouterr() == ("", "")


@converts
@pytest.mark.slow
def test_what_has_no_form_for_phones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no form in LiteRT: .*reduce_min.*f64") as caught:
        converted("student_only_sensor", tmp_path / "export", *GAF)
    assert "--format onnx" in str(caught.value.hint)
    assert not (tmp_path / "export").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"format": "litert"}, "converted by litert-torch, which is not installed"),
        ({"format": "litert", "converter": Path("no/such/python")}, "there is no program no/such/python"),
        ({"format": "onnx", "converter": Path("python")}, "--converter is for LiteRT, and the format is onnx"),
        ({"format": "litert", "int8": True}, "--int8 is for ONNX, and the format is litert"),
    ],
)
def test_what_cannot_be_converted_is_said_first(options: dict, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "litert_torch" else found(name))
    with pytest.raises(UsageError, match=said):
        export_run("no_such_run", **options)


def test_a_converter_that_fails_says_why(tmp_path: Path) -> None:
    module = torch.nn.Conv1d(3, 2, 3)
    with pytest.raises(UsageError, match="no form in LiteRT: ModuleNotFoundError: No module named 'litert_torch'"):
        write_litert(module, [ACCELEROMETER], tmp_path / "model.tflite", Path(sys.executable))
