"""The loss `cosine`."""

from __future__ import annotations

import torch.nn.functional as F
from kdbench import loss
from torch import Tensor


@loss("cosine", on="embedding")
def cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine distance of the pooled features: `1 - 1/B sum_b cos(s_b, t_b)`.

    Args:
        student: The student's features `(B, D)`; a linear that is learnt brings them to the teacher's width.
        teacher: The teacher's `(B, D)`; no gradient reaches them.
    """
    # In float32 also where the networks run in bfloat16.
    return 1 - F.cosine_similarity(student.float(), teacher.detach().float(), dim=1).mean()
