"""How the logits of a run lie beside one another, by which copies are told, and an outline of it in few numbers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_NUMBERS = 64
_ROUNDING = 1e-6


def unit(logits: np.ndarray) -> np.ndarray:
    """Logits `(N, K)` without each trial's and each class's mean, as a vector of length 1; zeros where nothing remains.

    Scale and shift change nothing of it, and a little noise a little.
    """
    rest = logits - logits.mean(axis=1, keepdims=True)
    rest = (rest - rest.mean(axis=0)).ravel()
    norm = float(np.linalg.norm(rest))
    return rest / norm if norm > 1e-6 * max(1.0, float(np.abs(logits).max())) else np.zeros_like(rest)


def outline(of: np.ndarray) -> np.ndarray:
    """The part of a unit vector in a fixed subspace, `(D,)`: two of them are no farther apart than their vectors.

    Args:
        of: As `unit` gives it.
    """
    drawn: np.ndarray = of.astype(np.float32) @ _directions(len(of))
    return drawn


def close(outlines: np.ndarray, correlation: float) -> np.ndarray:
    """The pairs `(P, 2)`, the first before the second, whose vectors may correlate by more than that.

    None that does is left out, since outlines are no farther apart than the vectors that they are of; the vectors of a
    pair that is named have to be looked at.

    Args:
        outlines: `(M, D)`.
        correlation: From where on.
    """
    # Of unit vectors, |a − b|² = 2 − 2 a·b.
    farthest = 2 * (1 - correlation) + _ROUNDING
    lengths = (outlines**2).sum(axis=1)
    pairs = []
    # A part of the rows at a time: ten thousand of them make a hundred million pairs.
    for begin in range(0, len(outlines), _NUMBERS):
        some = slice(begin, begin + _NUMBERS)
        apart = lengths[some, None] + lengths[None, begin:] - 2 * outlines[some] @ outlines[begin:].T
        first, second = np.nonzero(apart < farthest)
        pairs.append(np.stack([first, second], axis=1)[first < second] + begin)
    return np.concatenate(pairs) if pairs else np.empty((0, 2), dtype=np.int64)


@lru_cache(maxsize=32)
def _directions(size: int) -> np.ndarray:
    """Orthonormal columns `(size, D)`, the same for every board."""
    drawn = np.random.default_rng(0).standard_normal((size, min(_NUMBERS, size)))
    columns, _ = np.linalg.qr(drawn)
    return columns.astype(np.float32)
