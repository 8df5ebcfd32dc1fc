"""Progress in a notebook: one display, drawn anew as things go on; plain HTML, so that it needs no widgets."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

from kdbench.text.wording import counted
from kdbench.util.progress import Reporter, words_of

EVERY_SECONDS = 0.2
"""Between two drawings, at least."""


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows HTML; IPython in a terminal does not."""
    get = vars(builtins).get("get_ipython")
    return get is not None and hasattr(get(), "kernel")


@dataclass
class Bar:
    """One step of what goes on.

    Attributes:
        title: What is done.
        total: How many items there are.
        done: How many of them are done.
        words: What stands beside the bar.
    """

    title: str
    total: int
    done: int = 0
    words: str = ""

    def html(self) -> str:
        """The bar and its words."""
        share = 100 * self.done / max(1, self.total)
        return (
            f'<div><progress max="{self.total}" value="{self.done}">{share:.0f} %</progress> '
            f"{escape(self.title)} {self.done}/{self.total} <small>{escape(self.words)}</small></div>"
        )

    def text(self) -> str:
        """The same where no HTML is shown."""
        return " ".join(filter(None, [f"{self.title} {self.done}/{self.total}", self.words]))


class Display:
    """What is shown below a cell: bars, one line on what is done just now, and warnings, which stay."""

    def __init__(self) -> None:
        self.bars: list[Bar] = []
        self.line = ""
        self.warnings: list[str] = []
        self._handle: Any = None
        self._drawn = 0.0

    def draw(self, *, at_once: bool = True) -> None:
        """Shows it as it is now.

        Args:
            at_once: False leaves it as it is where it was drawn just before.
        """
        from IPython.display import display

        now = time.monotonic()
        if not at_once and now - self._drawn < EVERY_SECONDS:
            return
        self._drawn = now
        shown = {"text/html": self._html(), "text/plain": self._text()}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def _html(self) -> str:
        lines = [f"<div><small>{escape(self.line)}</small></div>"] if self.line else []
        warnings = [f"<div><b>warning:</b> {escape(text)}</div>" for text in self.warnings]
        return f'<div class="kdbench">{"".join([*(bar.html() for bar in self.bars), *lines, *warnings])}</div>'

    def _text(self) -> str:
        warnings = [f"warning: {text}" for text in self.warnings]
        return "\n".join([*(bar.text() for bar in self.bars), *filter(None, [self.line]), *warnings])


class NotebookReporter(Reporter):
    """A bar for each phase of a run, with the last epoch's terms."""

    def __init__(self) -> None:
        self._display = Display()
        self._bar: Bar | None = None

    def message(self, text: str) -> None:
        """Shows the line until the next one."""
        self._display.line = text
        self._display.draw()

    def warn(self, text: str) -> None:
        """Keeps the line below the bars."""
        self._display.warnings.append(text)
        self._display.draw()

    def start_phase(self, phase: str, *, epochs: int, steps: int, done: int, trials: int) -> None:
        """Adds a bar."""
        self._bar = Bar(phase, epochs * steps, done * steps)
        self._display.bars.append(self._bar)
        self.message(f"{phase}: {counted(trials, 'trial')}")

    def step(self, count: int) -> None:  # noqa: ARG002
        """Moves the bar."""
        if self._bar is not None:
            self._bar.done += 1
            self._display.draw(at_once=False)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Puts the epoch's terms and accuracy beside the bar."""
        if self._bar is not None:
            self._bar.words = words_of(record)
            self._display.draw()

    def end_phase(self) -> None:
        """Leaves the bar as it is."""
        self._bar = None

    def close(self) -> None:
        """Takes away the line on what was done last, once nothing goes on any more."""
        if self._display.line:
            self.message("")


@contextmanager
def counting(title: str, total: int) -> Iterator[Any]:
    """A bar of its own over items; yields a function to call after each.

    Args:
        title: What is done.
        total: How many items there are.
    """
    display = Display()
    bar = Bar(title, total)
    display.bars.append(bar)
    display.draw()

    def advance() -> None:
        bar.done += 1
        display.draw(at_once=bar.done >= total)

    yield advance
