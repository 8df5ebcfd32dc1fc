"""Class attention transfer: where in the last map a network sees each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.losses.checks import check_positive
from kdbench.losses.classifiers import class_scores, classifiers_of
from kdbench.losses.maps import in_cells, of_one_rank
from kdbench.losses.numerics import unit
from kdbench.registry import loss
from kdbench.types import Context


@loss("cat_kd", on="stages", project=False, needs=("student_classifiers", "teacher_classifiers"))
class ClassAttention(nn.Module):
    """Mean squared error between the class activation maps of both networks.

    `L = mean_b,k,n (c_s / ||c_s|| - c_t / ||c_t||)^2`, `c_k,n = <W_k, F_n>` the activation of class k in cell n of the
    last map, W the weight of the network's own classifier, the norm over the cells (Guo et al., CVPR 2023, CAT-KD). A
    cell's mean feature is taken before the product with W, which is the same as after it. The authors' networks have a
    classifier without bias, between the last map and its mean; here the bias is left out of the activations.

    There are as many cells along each axis as `cells` says, as far as both networks have so many positions. A class
    that a network sees nowhere has no direction: its map is zero. Maps of unlike rank are brought to one as
    `align_maps` does. Where a network normalises between its last map and the mean, the activations are without that.

    Args:
        context: Gives the classifiers of both networks.
        cells: Cells along an axis; the authors take 2 or 4.
        normalise: Divide each class's map by its norm; else compare the activations themselves.

    Raises:
        UsageError: `cells` is not positive, or an embedding is no mean of the last map.
    """

    def __init__(self, context: Context, *, cells: int = 2, normalise: bool = True) -> None:
        super().__init__()
        check_positive("cat_kd", cells=cells)
        self.classifiers = classifiers_of("cat_kd", context)
        self.cells = cells
        self.normalise = normalise

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The loss of maps `(B, C, *grid)`, one per stage, of which the last is read; the teacher's is detached."""
        maps = in_cells(*of_one_rank(student[-1], teacher[-1].detach()), self.cells)
        ours, theirs = (class_scores(layer, x, bias=False) for layer, x in zip(self.classifiers, maps, strict=True))
        if self.normalise:
            ours, theirs = unit(ours, 2), unit(theirs, 2)
        return F.mse_loss(ours, theirs)
