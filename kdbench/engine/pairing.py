"""What the draws of a training depend on."""

from __future__ import annotations

from dataclasses import dataclass

from kdbench.util.seeds import seed_for


@dataclass(frozen=True)
class Pairing:
    """Names that the order of the data depends on; the method is not among them, so runs at a seed are paired."""

    dataset: str
    protocol: str
    seed: int

    def seed_of(self, purpose: str, *more: str | int) -> int:
        """Seed for a purpose (`order`, `augment`, …) of this pairing."""
        return seed_for(purpose, self.dataset, self.protocol, self.seed, *more)
