"""What a student says of one recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdbench.errors import unknown


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a student says of one recording.

    Attributes:
        classes: Names of the K classes.
        probabilities: Of each of them `(K,)`, float64; they sum to 1.
        notes: What is odd about the recording, a sentence each.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return float(self.probabilities.max())

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes with their probabilities, the first one first.

        Args:
            count: How many.
        """
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[place], float(self.probabilities[place])) for place in order]

    def probability_of(self, name: str) -> float:
        """The probability of one class.

        Args:
            name: The class.

        Raises:
            UsageError: The student knows no such class; the near misses are named.
        """
        if name not in self.classes:
            raise unknown("class of this student", name, self.classes, hint="Its classes: student.classes")
        return float(self.probabilities[self.classes.index(name)])

    def __repr__(self) -> str:
        """The first three classes."""
        return ", ".join(f"{name} {100 * share:.1f} %" for name, share in self.top(3))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits `(…, K)`, float64."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
