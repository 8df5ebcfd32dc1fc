"""Progress in a notebook: what a kernel is sent to show, without one."""

from __future__ import annotations

import builtins
from types import SimpleNamespace
from typing import Any

import pytest

from kdbench.data.store.progress import progress
from kdbench.util.notebook import NotebookReporter, in_notebook

HOSTILE = "<script>alert(1)</script>"
RECORD = {"phase": "student", "epoch": 1, "accuracy": 0.5, "validation": None, "terms": {HOSTILE: 1.25}}


class Shown:
    """Stands where IPython's display is, and keeps what the last drawing of each display holds."""

    def __init__(self) -> None:
        self.drawn: list[dict[str, str]] = []

    def __call__(self, data: dict[str, str], **options: Any) -> Any:
        assert options == {"raw": True, "display_id": True}
        self.drawn.append(data)
        place = len(self.drawn) - 1
        return SimpleNamespace(update=lambda data, **_: self.drawn.__setitem__(place, data))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    stand_in = Shown()
    monkeypatch.setattr("IPython.display.display", stand_in)
    monkeypatch.setattr(builtins, "get_ipython", lambda: SimpleNamespace(kernel=object()), raising=False)
    return stand_in


def test_a_run_is_one_display_whose_bars_stay_and_whose_line_goes(shown: Shown) -> None:
    reporter = NotebookReporter()
    reporter.message("trying every loss once")
    assert "trying every loss once" in shown.drawn[0]["text/html"]
    reporter.start_phase("student", epochs=2, steps=3, done=0, trials=12)
    for _ in range(3):
        reporter.step(4)
    reporter.end_epoch(RECORD)
    reporter.warn("careful & slow")
    reporter.end_phase()
    reporter.close()
    (data,) = shown.drawn
    assert '<progress max="6" value="3">50 %</progress> student 3/6' in data["text/html"]
    assert "train 50.0 %" in data["text/html"]
    assert "careful &amp; slow" in data["text/html"]
    assert "trying every loss once" not in data["text/html"]
    assert "<script" not in data["text/html"]
    assert data["text/plain"] == f"student 3/6 train 50.0 % · {HOSTILE} 1.25\nwarning: careful & slow"


def test_a_training_that_goes_on_starts_where_it_was(shown: Shown) -> None:
    reporter = NotebookReporter()
    reporter.start_phase("teacher", epochs=4, steps=5, done=3, trials=20)
    assert 'max="20" value="15"' in shown.drawn[0]["text/html"]


def test_preparing_data_is_a_bar(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Preparing motionsim", 3, shown=True) as advance:
        for _ in range(3):
            advance()
    (data,) = shown.drawn
    assert data["text/plain"] == "Preparing motionsim 3/3"
    with progress("Preparing motionsim", 3, shown=False) as advance:
        advance()
    assert len(shown.drawn) == 1
    assert capsys.readouterr() == ("", "")


def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    monkeypatch.setattr(builtins, "get_ipython", lambda: SimpleNamespace(), raising=False)
    assert not in_notebook()
