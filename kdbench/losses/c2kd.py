"""C2KD: proxies of both networks carry knowledge both ways, where they rank the classes alike."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench.losses.checks import check_samples, check_scores
from kdbench.losses.layers import MapNorm
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.losses.targets import target_class
from kdbench.registry import loss
from kdbench.types import Batch, Context, Features

_SLOPE = 0.1


@loss("c2kd", project=False, reads=("logits", "embedding"), labels="optional", detaches=("logits", "embedding"))
class ProxyDistillation(nn.Module):
    """KL divergences between a network and its proxy, both ways, and between the proxies of two networks.

    With z the logits of a network and p those of its proxy, `[x]` held fixed:

        L = KL([p_s] -> z_s) + KL([z_s] -> p_s) + N([p_t] -> p_s)      the student's part
          + KL([z_t] -> p_t) + N([p_s] -> p_t)                        which trains the proxy of the teacher

    `KL(a -> b) = 1/B sum KL(softmax(a) || softmax(b))`, a the target. N is the same of the logits with the label's set
    to 0, over the samples at which Kendall's tau of p_t and p_s is above `threshold` (the others count as 0). A proxy
    is a 1x1 convolution of the pooled last map, which is a linear of the embedding, BatchNorm, LeakyReLU 0.1 and a
    linear to the classes (Huo et al., C2KD, CVPR 2024, after the authors' code, in which tau is that of the
    proxies, not of the networks, and the label's logit is set to 0, not left out).

    The authors train both networks with one sum. Here each network has its own losses: a teacher that trains along
    (`train: joint`) has this loss as well, in which it is the student, so that its `KL([p_t] -> z_t)` and the gradient
    of its proxy reach it there. Each of the two losses has its own copy of the other network's proxy, trained by the
    same terms; the authors share them. With a frozen teacher the second line makes its proxy fit the student.

    The target class of a trial without a label (-1) is the one that the teacher gives the highest score.

    Args:
        context: Gives the widths of both embeddings and the number of classes.
        threshold: tau above which a sample counts, in [-1, 1].
    """

    def __init__(self, context: Context, *, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold
        self.of_student = _proxy(context.student.embedding, context.classes)
        self.of_teacher = _proxy(context.teachers[0].embedding, context.classes)
        self._alike: Tensor | None = None

    def forward(self, student: Features, teacher: Features, batch: Batch) -> Tensor:
        """The loss of logits `(B, K)` and embeddings `(B, D)`; the teacher's are detached."""
        check_scores("c2kd", student.logits, teacher.logits)
        check_samples("c2kd", student.embedding, teacher.embedding)
        own, other = at_least_float32(student.logits), at_least_float32(teacher.logits).detach()
        mine = _scores(self.of_student, student.embedding)
        theirs = _scores(self.of_teacher, teacher.embedding.detach())
        alike = (rank_correlation(theirs.detach(), mine.detach()) > self.threshold).to(mine.dtype)
        self._alike = alike.mean()
        label = target_class(batch, other)
        ours = _kl(mine, own).mean() + _kl(own, mine).mean()
        ours = ours + (alike * _kl(_without(theirs, label), _without(mine, label))).mean()
        of_teacher = _kl(other, theirs).mean() + (alike * _kl(_without(mine, label), _without(theirs, label))).mean()
        return ours + of_teacher

    def diagnostics(self) -> dict[str, Tensor]:
        """Readings of the last call: `alike` is the share of samples at which the proxies rank the classes alike."""
        return {} if self._alike is None else {"alike": self._alike}


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Kendall's tau-b of each pair of rows, `(B, K)` and `(B, K)` to `(B,)`; 0 where a row is constant."""
    signs = [(x[:, :, None] - x[:, None, :]).sign() for x in (first, second)]
    both = (signs[0] * signs[1]).sum((1, 2))
    untied = [sign.abs().sum((1, 2)) for sign in signs]
    # Pairs are counted: below 1 there is only 0, that of a constant row.
    return both / (untied[0] * untied[1]).sqrt().clamp_min(1)


def _proxy(width: int, classes: int) -> nn.Sequential:
    first, last = nn.Linear(width, width, bias=False), nn.Linear(width, classes)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(first, MapNorm(width), nn.LeakyReLU(_SLOPE), last)


def _scores(proxy: nn.Sequential, embedding: Tensor) -> Tensor:
    last = proxy[-1]
    assert isinstance(last, nn.Linear)
    with without_autocast(embedding):
        scores: Tensor = proxy(embedding.flatten(1).to(last.weight.dtype))
    return scores


def _without(logits: Tensor, label: Tensor) -> Tensor:
    return logits.scatter(1, label[:, None], 0)


def _kl(target: Tensor, scores: Tensor) -> Tensor:
    """KL divergence of each row `(B,)`; the target is held fixed."""
    log_target = target.detach().log_softmax(1)
    return F.kl_div(scores.log_softmax(1), log_target, reduction="none", log_target=True).sum(1)
