"""The loss `part_name`."""

from __future__ import annotations

import torch.nn.functional as F
from kdbench import loss
from torch import Tensor


@loss("part_name", on="embedding")
def part_name(student: Tensor, teacher: Tensor, *, margin: float = 0.0) -> Tensor:
    """Cosine distance of the pooled features, as far as it exceeds a margin.

    `L = 1/B sum_b max(0, 1 - cos(s_b, t_b) - margin)`. Put your own formula and its paper here.

    Args:
        student: The student's features `(B, D)`; a linear that is learnt brings them to the teacher's width.
        teacher: The teacher's `(B, D)`; no gradient reaches them.
        margin: The distance that costs nothing. A recipe sets it: `part_name: {weight: 1.0, margin: 0.1}`.
    """
    # In float32 also where the networks run in bfloat16.
    distance = 1 - F.cosine_similarity(student.float(), teacher.detach().float(), dim=1)
    return F.relu(distance - margin).mean()
