"""The student's last map becomes the teacher's, whose classifier it then uses."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from kdbench.losses.maps import align_maps
from kdbench.registry import loss


@loss("simkd", on="stages", needs=("teacher_head",))
def simkd(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the last maps, the student's behind its projector.

    `L = mean((P(F_s) - F_t)^2)` (Chen et al., Knowledge distillation with the reused teacher classifier, CVPR 2022,
    eq. 3). The projector P and the teacher's classifier are in the student itself: `student.head: {of: teacher}`. It
    is the paper's only loss: neither labels nor scores are compared. Maps of unlike ranks meet as in `align_maps`,
    behind the projector.

    Args:
        student: The student's maps; the last one is projected.
        teacher: The teacher's maps.
    """
    own, target = align_maps(student[-1], teacher[-1].detach())
    return F.mse_loss(own, target)
