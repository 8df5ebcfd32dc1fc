"""What is odd about recordings and does not keep them from being used: rates and units other than the card's."""

from __future__ import annotations

import threading

import numpy as np

from kdbench.data.card import Card
from kdbench.data.readers.files.stream import Stream
from kdbench.text.wording import counted, some

GRAVITY = 9.80665
OFF = 1.5
"""By which factor a rate may differ from the card's."""
_STILL = 0.1
_SHOWN = 3


class Oddities:
    """Gathers what is odd, by what it is and by trial; any thread may tell.

    Args:
        card: The data set's card.
    """

    def __init__(self, card: Card) -> None:
        self._card = card
        self._seen: dict[str, dict[str, float]] = {}
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        """A line for each kind, with how many trials it is true of."""
        lines = []
        for text, trials in sorted(self._seen.items()):
            value = f"{np.median(list(trials.values())):.3g}"
            count = counted(len(trials), "trial")
            lines.append(f"{text.format(value=value)} ({count}: {some(sorted(trials), _SHOWN)})")
        return lines

    def see_series(self, trial: str, name: str, read: Stream) -> None:
        """Looks at a sensor's or a skeleton's samples."""
        sensor = self._card.sensors.get(name) or self._card.skeletons[name].sensor
        rate = read.rate_hz
        if rate is not None and not 1 / OFF <= rate / sensor.rate_hz <= OFF:
            self._note(trial, f"the {name} has {{value}} samples a second, the card says {sensor.rate_hz:g}", rate)
        if name in self._card.sensors and len(sensor.axes) == 3 and len(read.values):
            self._look_at_gravity(trial, name, sensor.unit, read.values)

    def see_video(self, trial: str, view: str, frames: int | None, seconds: float | None) -> None:
        """Looks at a clip's rate."""
        nominal = self._card.views[view].rate_hz
        if frames and seconds and not 1 / OFF <= frames / seconds / nominal <= OFF:
            text = f"the {view} video shows {{value}} frames a second, the card says {nominal:g}"
            self._note(trial, text, frames / seconds)

    def see_disagreement(self, trial: str) -> None:
        """Notes a trial whose streams are aligned by their share of its length, since their times do not agree."""
        self._note(trial, "times of streams jump or disagree, so they are aligned by their share of the length", 0.0)

    def _look_at_gravity(self, trial: str, name: str, unit: str, values: np.ndarray) -> None:
        """At rest an accelerometer shows gravity alone: 1 g, or 9.81 m/s²."""
        plain = unit.replace("²", "2").replace("^", "").replace(" ", "").casefold()
        stated = {"m/s2": GRAVITY, "ms-2": GRAVITY, "g": 1.0}.get(plain.partition("(")[0])
        if stated is None:
            return
        middle = float(np.median(np.linalg.norm(values, axis=1)))
        other, word = (1.0, "g") if stated == GRAVITY else (GRAVITY, "m/s²")
        for size, guess in ((other, word), (stated**2 / other, f"{word} that were converted twice")):
            if abs(middle / size - 1) < _STILL:
                text = f"the {name} looks like {guess}: its median size is {{value}}, and the card says {unit}"
                self._note(trial, text, middle)

    def _note(self, trial: str, text: str, value: float) -> None:
        with self._lock:
            self._seen.setdefault(text, {})[trial] = value
