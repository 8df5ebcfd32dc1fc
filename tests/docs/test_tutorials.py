"""The tutorials run from top to bottom, each in less than two minutes, and show what their text says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pages import tutorials

SHOWN = {
    "1_from_zero_to_a_table": ("no gain shown", "run.json says", "learning_curves.png", "<progress"),
    "2_a_loss_of_ones_own": ("gradient", "True · ", "cosine"),
    "3_own_recordings": (
        "wave_2.csv",
        "protocol cross_subject: Subject cleo tests",
        "display.Image object",
        "passed   was_checked",
        "'paired': 7",
    ),
    "4_read_a_comparison": ("a control", "2 subjects say too little about new ones", "figures/comparison.html"),
    "5_export_and_predict": (
        "model.onnx",
        "right hand wave",
        "# student_only_sensor on",
        "report/windows.csv",
        "it looks like m/s²",
        "Figure size",
        "display.Image object",
    ),
}
pytestmark = pytest.mark.slow


def test_each_tutorial_is_tested() -> None:
    assert {source.stem for source in tutorials.sources()} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_a_tutorial_runs_and_shows_what_it_is_about(name: str) -> None:
    notebook = tutorials.executed(tutorials.SOURCES / f"{name}.py")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = "\n".join(_text(output) for output in outputs)
    assert [words for words in SHOWN[name] if words not in said] == []
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    assert _seconds(notebook) < 120


def test_another_text_is_another_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_TUTORIALS", str(tmp_path))
    source = tmp_path / "a.py"
    said = []
    for words in ("one", "one", "two"):
        source.write_text(f"# %%\nprint('{words}')\n")
        (cell,) = tutorials.executed(source).cells
        said.append(cell.outputs[0].text.strip())
    assert said == ["one", "one", "two"]
    assert len(list(tmp_path.glob("*.ipynb"))) == 2


def _text(output: Any) -> str:
    data = output.get("data", {})
    return "\n".join([output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")])


def _seconds(notebook: Any) -> float:
    """From the start of the first cell to the end of the last."""
    times = [cell.metadata.execution for cell in notebook.cells if cell.cell_type == "code"]
    first, last = times[0]["iopub.execute_input"], times[-1]["shell.execute_reply"]
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
