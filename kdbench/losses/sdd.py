"""Scale decoupled distillation: decoupled distillation of the logits of parts of the last map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.errors import ParameterError
from kdbench.losses.checks import check_other_classes, check_positive, check_scores
from kdbench.losses.classifiers import class_scores, classifiers_of
from kdbench.losses.maps import in_cells, of_one_rank
from kdbench.losses.numerics import at_least_float32
from kdbench.losses.targets import label_or_not, other_classes, target_class
from kdbench.registry import loss
from kdbench.types import Batch, Context, Features


@loss(
    "sdd",
    project=False,
    needs=("student_classifiers", "teacher_classifiers"),
    reads=("logits", "stages"),
    labels="optional",
)
class ScaleDecoupled(nn.Module):
    """DKD of the logits of the whole map and of its cells, those counting more where the teacher contradicts itself.

    `L = T^2 / (B N) sum_b sum_n w_bn [alpha KL(b_t || b_s) + beta KL(q_t || q_s)]` over the N cells of all scales, b
    and q as in `dkd`, of the logits that each network's own classifier gives the cell's mean feature (Wei et al., CVPR
    2024). `w = emphasis` for a cell at which the teacher is right and on the whole map wrong, or the reverse, else 1.
    Right means that the highest score is the label's: a cell that is wrong in another way than the whole map counts 1,
    as in the authors' `multi_dkd`.

    A scale M divides each axis of the last map into M cells, as far as both networks have so many positions; one cell
    is the whole map, for which the logits themselves are taken, and a scale that divides no further than another counts
    with it as one. Maps of unlike rank are brought to one as `align_maps` does. Where a network normalises between its
    last map and the mean, its cells are scored without that. The target class of a trial without a label (-1) is the
    one that the teacher gives the highest score.

    Args:
        context: Gives the classifiers of both networks.
        scales: Every M, a positive integer.
        alpha: Weight of the target-class term.
        beta: Weight of the other classes' term.
        temperature: T > 0.
        emphasis: Weight of a cell that contradicts the whole map.

    Raises:
        UsageError: A parameter has no such value, there is one class only, or an embedding is no mean of the last map.
    """

    def __init__(
        self,
        context: Context,
        *,
        scales: Sequence[int] = (1, 2, 4),
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        emphasis: float = 2.0,
    ) -> None:
        super().__init__()
        check_positive("sdd", temperature=temperature)
        if not scales or not all(isinstance(scale, int) and scale > 0 for scale in scales):
            raise ParameterError(
                f"sdd: scales is {list(scales)}, expected numbers of cells along an axis, 1 or more", "scales"
            )
        self.classifiers = classifiers_of("sdd", context)
        self.scales = tuple(scales)
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.emphasis = emphasis

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The loss against one branch of the teacher."""
        check_scores("sdd", student.logits, teacher.logits)
        check_other_classes("sdd", student.logits)
        whole = at_least_float32(teacher.logits).detach()
        label = target_class(batch, whole)
        ours, theirs = self._scores(student, teacher)
        contradicts = (theirs.argmax(2) == label) != (whole.argmax(1) == label)
        weight = 1 + (self.emphasis - 1) * contradicts.flatten().to(ours.dtype)
        terms = self._decoupled(ours.flatten(0, 1), theirs.flatten(0, 1), label.repeat(len(ours)))
        return self.temperature**2 * (weight * terms).mean()

    def _scores(self, student: Features, teacher: Features) -> list[Tensor]:
        """Logits of every cell of both networks, `(N, B, K)` each."""
        maps = of_one_rank(student.stages[-1], teacher.stages[-1].detach())
        # On a small map several scales may come to as many cells, and count once.
        pairs = {pair[0].shape[2]: pair for pair in (in_cells(*maps, scale) for scale in self.scales)}
        whole = (student.logits, teacher.logits.detach())
        scores = [
            [at_least_float32(x)[:, :, None] for x in whole]
            if cells == 1
            else [class_scores(layer, x) for layer, x in zip(self.classifiers, pair, strict=True)]
            for cells, pair in pairs.items()
        ]
        return [torch.cat(each, 2).movedim(2, 0) for each in zip(*scores, strict=True)]

    def _decoupled(self, student: Tensor, teacher: Tensor, label: Tensor) -> Tensor:
        """`alpha KL(b_t || b_s) + beta KL(q_t || q_s)` of each row; the formula of `dkd` without its mean."""
        student, teacher = student / self.temperature, teacher / self.temperature
        others = other_classes(label, student.shape[1])
        target = _divergence(label_or_not(teacher, label, others), label_or_not(student, label, others))
        rest = _divergence(*(scores.gather(1, others).log_softmax(1) for scores in (teacher, student)))
        return self.alpha * target + self.beta * rest


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    return F.kl_div(student, teacher, reduction="none", log_target=True).sum(1)
