"""What a terminal shows of a training: at any width no word and no number of it is cut."""

import io
import re
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from kdbench.data.store.progress import fitted
from kdbench.util.progress import BarReporter, CountColumn, clock

TERMS = {"ce": 2.76, "st": 0.00484, "sgm": 2.05, "se": 0.28}
RECORD: dict[str, Any] = {"phase": "student", "epoch": 1, "terms": TERMS, "accuracy": 0.125, "validation": None}


def line(width: int) -> str:
    """The line of a training of which one epoch of four is over, as a terminal of a width has it."""
    text = io.StringIO()
    reporter = BarReporter(Console(file=text, width=width, force_terminal=True, color_system=None))
    reporter.start_phase("student", epochs=4, steps=2, done=0, trials=100)
    for _ in range(2):
        reporter.step(50)
    reporter.end_epoch(RECORD)
    reporter.end_phase()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue()).replace("\r", "\n").rstrip().splitlines()[-1]


@pytest.mark.parametrize("width", range(60, 161, 4))
def test_a_line_has_epoch_bar_time_and_accuracy_and_whole_losses(width: int) -> None:
    said = line(width)
    assert len(said.rstrip()) <= width
    assert re.match(r". student 2/4 [━╸]", said), said
    assert re.search(r"\d+ s left · train 12\.5 %", said), said
    assert "…" not in said
    shown = [f"{name} {value}" for name, value in TERMS.items() if f"{name} " in said.partition("trials/s")[2]]
    assert said.partition("trials/s")[2].strip(" ·") == " · ".join(shown)


def test_a_wide_line_has_every_loss() -> None:
    assert line(140).rstrip().endswith("ce 2.76 · st 0.00484 · sgm 2.05 · se 0.28")


@pytest.mark.parametrize(
    ("room", "title"),
    [(85, "Preparing x (depth, 16 frames)"), (36, "Preparing x (depth, 16 frames)"), (30, "Preparing x")],
)
def test_a_bar_gets_smaller_before_its_title_gets_shorter(room: int, title: str) -> None:
    said, width = fitted("Preparing x (depth, 16 frames)", room)
    assert said == title
    assert 4 <= width <= 40
    assert len(said) + 1 + width <= room


def test_a_bar_of_items_says_what_is_elapsed_and_what_is_left() -> None:
    seconds = iter(range(0, 1000, 2))
    bar = Progress(CountColumn(), console=Console(file=io.StringIO()), get_time=lambda: float(next(seconds)))
    bar.add_task("x", total=512)
    (task,) = bar.tasks
    assert re.fullmatch(r"  0/512, 0:\d\d elapsed, – left", CountColumn().render(task).plain)
    bar.advance(task.id, 256)
    bar.advance(task.id, 128)
    assert re.fullmatch(r"384/512, 0:\d\d elapsed, 0:\d\d left", CountColumn().render(task).plain)


@pytest.mark.parametrize(("seconds", "said"), [(None, "–"), (0.6, "0:01"), (749, "12:29"), (3723, "1:02:03")])
def test_a_duration_on_a_clock(seconds: float | None, said: str) -> None:
    assert clock(seconds) == said
