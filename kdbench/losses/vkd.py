"""VkD: an orthogonal projection of the student's embedding to the normalised one of the teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.losses.checks import check_positive, check_samples
from kdbench.losses.numerics import at_least_float32
from kdbench.registry import loss
from kdbench.types import Context


@loss("vkd", on="embedding", project=False, labels="unused")
class OrthogonalProjection(nn.Module):
    """Smooth L1 distance of the projected embedding and the teacher's after LayerNorm.

    `L = mean h(P s - LayerNorm(t))`, the mean over samples and entries, `h(x) = x^2 / (2 beta)` where `|x| < beta` and
    `|x| - beta / 2` elsewhere; LayerNorm has neither scale nor shift (Miles, Elezi and Deng, CVPR 2024, as their code
    for classification has it). P `(D_t, D_s)` is learnt and has orthonormal columns, so that it keeps all distances and
    learns nothing that the student should; orthonormal rows where the teacher's embedding is the narrower one.

    P is the orthogonal factor of a free matrix, `W = P R` with a positive diagonal of R, on which weight decay has no
    effect. The authors take PyTorch's orthogonal parametrization; where the widths differ it multiplies reflections by
    the whole part of entries that start at 1 or -1, so that with weight decay on them P is 0 after the first step.

    The authors average tokens and positions; here the embedding is what the network pools. An embedding of the teacher
    whose entries are all equal is compared as zeros.

    Args:
        context: Gives the widths of the embeddings.
        beta: Where the distance turns from squared to absolute, positive.
        eps: Added to the variance in LayerNorm, positive.

    Raises:
        UsageError: A parameter is not positive, or the batches differ.
    """

    def __init__(self, context: Context, *, beta: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__()
        check_positive("vkd", beta=beta, eps=eps)
        self.beta = beta
        self.eps = eps
        ours, theirs = context.student.embedding, context.teachers[0].embedding
        self.wider = ours > theirs
        self.frame = nn.Parameter(torch.empty(max(ours, theirs), min(ours, theirs)))
        nn.init.orthogonal_(self.frame)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of embeddings `(B, D_s)` and `(B, D_t)`; the teacher's are detached."""
        check_samples("vkd", student, teacher)
        target = F.layer_norm(at_least_float32(teacher.detach()), teacher.shape[1:], eps=self.eps)
        own = at_least_float32(F.linear(at_least_float32(student), self.projection()))
        return F.smooth_l1_loss(own, target, beta=self.beta)

    def projection(self) -> Tensor:
        """P `(D_t, D_s)`."""
        factor, rest = torch.linalg.qr(self.frame)
        # QR is unique up to signs: fixed, so that the projection does not jump from step to step.
        factor = factor * torch.where(rest.diagonal() < 0, -1.0, 1.0).to(factor.dtype)
        return factor.mT if self.wider else factor
