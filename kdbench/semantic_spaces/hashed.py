"""Random label vectors, for where no language model and no table is to be had."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from kdbench.registry import semantics
from kdbench.semantic_spaces.base import LabelVectors, scaled
from kdbench.util.seeds import seed_for


@semantics("hash")
def hashed(names: Sequence[str], *, size: int = 384, seed: int = 0) -> LabelVectors:
    """Random directions, one per class name; they carry no meaning, and the result says so.

    Args:
        names: The class names; a name's direction does not depend on the others.
        size: S, the length of a vector.
        seed: Another seed gives other directions.
    """
    draws = [np.random.default_rng(seed_for("semantics", "hash", seed, name)).standard_normal(size) for name in names]
    rows = torch.from_numpy(np.stack(draws))
    vectors, scale = scaled(rows / rows.norm(dim=1, keepdim=True))
    return LabelVectors(vectors, name=f"hash (seed {seed})", scale=scale, meaningful=False)
