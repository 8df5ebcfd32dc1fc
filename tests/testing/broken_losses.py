"""Losses with one error each, and the checks that each of them must fail: those, and no others."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import loss
from kdbench.types import Batch

BROKEN: list[tuple[Any, set[str]]] = []
"""A loss, and the names of the checks that it fails."""
_calls = itertools.count()


def fails(*checks: str) -> Any:
    def add(component: Any) -> Any:
        BROKEN.append((component, set(checks)))
        return component

    return add


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.float() - teacher.detach().float()).square().mean()


@fails("loads")
@loss("on_nothing_known", on="embeding")
def on_nothing_known(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher)


@fails("loads")
@loss("cannot_be_built", on="logits", project=False)
class CannotBeBuilt(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        raise RuntimeError("no weights")


@fails("returns_a_scalar")
@loss("vector", on="logits")
def vector(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher.detach()).square().mean(1)


@fails("returns_a_scalar")
@loss("raises", on="logits")
def raises(student: Tensor, teacher: Tensor) -> Tensor:
    raise ZeroDivisionError("by nothing")


@fails("is_finite")
@loss("logarithm", on="logits")
def logarithm(student: Tensor, teacher: Tensor) -> Tensor:
    return (student.log() - teacher.detach().log()).mean()


@fails("survives_degenerate_features")
@loss("root", on="logits")
def root(student: Tensor, teacher: Tensor) -> Tensor:
    """The slope of a square root is infinite where two networks agree."""
    return (student.float() - teacher.detach().float()).square().sum(1).sqrt().mean()


@fails("labels_are_as_declared")
@loss("reads_labels_in_secret", on="logits", labels="unused")
def reads_labels_in_secret(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    weight = 1 + (batch.label == 0).float()
    return (weight * (student.float() - teacher.detach().float()).square().mean(1)).mean()


@fails("labels_are_as_declared")
@loss("divides_by_the_labelled", on="logits", labels="optional")
def divides_by_the_labelled(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    """Without a label there is nothing to divide by."""
    known = (batch.label >= 0).float()
    return (known * (student.float() - teacher.detach().float()).square().mean(1)).sum() / known.sum()


@fails("takes_one_class")
@loss("spread_of_the_classes", on="logits")
def spread_of_the_classes(student: Tensor, teacher: Tensor) -> Tensor:
    """One class has no unbiased deviation."""
    ours, theirs = (x.float() / (x.float().std(1, keepdim=True) + 1e-3) for x in (student, teacher.detach()))
    return (ours - theirs).square().mean()


@fails("survives_degenerate_features")
@loss("entropy_of_both", on="logits")
def entropy_of_both(student: Tensor, teacher: Tensor) -> Tensor:
    """Zero times the logarithm of zero, where the classes are certain."""
    ours, theirs = (x.float().softmax(1) for x in (student, teacher.detach()))
    return (theirs * (theirs.log() - ours.log())).sum(1).mean()


@fails("gradient_reaches_the_student", "never_waits_for_the_device")
@loss("numpy_detour", on="embedding", compiles=False)
def numpy_detour(student: Tensor, teacher: Tensor) -> Tensor:
    """What the released code of a published method does with its maps: numpy forgets the gradient."""
    difference = student.detach().float().cpu().numpy() - teacher.detach().float().cpu().numpy()
    return torch.tensor(np.square(difference).mean())


@fails("gradient_reaches_the_student")
@loss("one_stage_detached", on="stages")
def one_stage_detached(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    pooled = [[x.float().flatten(2).mean(2) for x in maps] for maps in (student, teacher)]
    pooled[0][2] = pooled[0][2].detach()
    return torch.stack([distance(s, t) for s, t in zip(*pooled, strict=True)]).sum()


@fails("gradient_reaches_the_student")
@loss("reads_less_than_it_says", reads=("logits", "embedding"))
def reads_less_than_it_says(student: Any, teacher: Any) -> Tensor:
    return distance(student.logits, teacher.logits)


@fails("gradient_reaches_the_student")
@loss("other_stages", on="stages")
def other_stages(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...], *, stages: Any = (0, 3)) -> Tensor:
    return distance(student[3].flatten(2).mean(2), teacher[3].flatten(2).mean(2))


class _Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return 3 * grads[0]


@fails("gradient_is_the_slope")
@loss("wrong_gradient", on="logits")
def wrong_gradient(student: Tensor, teacher: Tensor) -> Tensor:
    return _Tripled.apply(distance(student, teacher))


@fails("gradient_stays_off_the_teacher")
@loss("wakes_the_teacher", on="logits", compiles=False)
def wakes_the_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher.requires_grad_())


@fails("takes_a_batch_of_one")
@loss("variance", on="logits")
def variance(student: Tensor, teacher: Tensor) -> Tensor:
    """The variance of one sample is 0 / 0."""
    return distance(student.float().var(0), teacher.float().var(0))


@fails("takes_unlike_grids")
@loss("images_only", on="stages")
def images_only(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    def pooled(x: Tensor) -> Tensor:
        return torch.einsum("bchw->bc", x.float() if x.dim() == 4 else x.float().mean(2))

    return distance(pooled(student[-1]), pooled(teacher[-1]))


@fails("holds_in_bf16")
@loss("cancels", on="logits")
def cancels(student: Tensor, teacher: Tensor) -> Tensor:
    """Far from zero, bf16 has no digits left for the spread."""
    return ((student + 300).var() - (teacher.detach() + 300).var()).square() + student.var()


@fails("follows_its_declared_order")
@loss("first_counts_most", on="logits")
def first_counts_most(student: Tensor, teacher: Tensor) -> Tensor:
    place = torch.arange(len(student), device=student.device)
    return ((student.float() - teacher.detach().float()).square().mean(1) / (1 + place)).mean()


@fails("follows_its_declared_order")
@loss("not_sensitive", on="logits", batch_order="sensitive")
def not_sensitive(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher)


@fails("uses_the_teacher")
@loss("ignores_the_teacher", on="logits")
def ignores_the_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    return student.float().square().mean()


class _Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return -grads[0]


@fails("three_steps_lower_it")
@loss("runs_away", on="logits", project=False)
class RunsAway(nn.Module):
    """The student follows, and what the loss itself learns goes uphill."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return distance(student, teacher) * torch.exp(20 * _Reversed.apply(self.log_scale))


@fails("is_deterministic")
@loss("counts_calls", on="logits", compiles=False)
def counts_calls(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) * (1 + 1e-6 * (next(_calls) % 7))


@fails("leaves_random_states_alone")
@loss("draws_from_torch", on="logits")
def draws_from_torch(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) * (1 + 1e-7 * torch.rand((), device=student.device))


@fails("leaves_random_states_alone")
@loss("draws_from_numpy", on="logits", compiles=False)
def draws_from_numpy(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) * (1 + 1e-7 * np.random.rand())  # noqa: NPY002


@fails("leaves_random_states_alone")
@loss("draws_from_python", on="logits", compiles=False)
def draws_from_python(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) * (1 + 1e-7 * random.random())


@fails("state_round_trips")
@loss("forgetful", on="logits", project=False)
class Forgetful(nn.Module):
    """Remembers in an attribute that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(())

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        value = distance(student, teacher) * (1 + self.mean)
        self.mean = 0.9 * self.mean + 0.1 * teacher.detach().float().square().mean()
        return value


@fails("weight_zero_changes_nothing")
@loss("goes_backward", on="logits", compiles=False)
def goes_backward(student: Tensor, teacher: Tensor) -> Tensor:
    """Adds to the networks' gradients by itself, whatever its weight is."""
    value = distance(student, teacher)
    value.backward(retain_graph=True)
    return value


@fails("inputs_stay_as_they_are")
@loss("centres_in_place", on="logits")
def centres_in_place(student: Tensor, teacher: Tensor) -> Tensor:
    student.sub_(student.mean(1, keepdim=True))
    return distance(student, teacher)


@fails("shapes_do_not_depend_on_values")
@loss("other_gradient_compiled", on="embedding")
def other_gradient_compiled(student: Tensor, teacher: Tensor) -> Tensor:
    more = student - student.detach() if torch.compiler.is_compiling() else 0 * student
    return distance(student, teacher) + more.float().sum()


@fails("never_waits_for_the_device")
@loss("reads_a_number", on="logits", compiles=False)
def reads_a_number(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) / (1 + teacher.detach().float().abs().max().item())


@fails("never_waits_for_the_device")
@loss("asks_a_tensor", on="logits", compiles=False)
def asks_a_tensor(student: Tensor, teacher: Tensor) -> Tensor:
    return distance(student, teacher) if teacher.detach().float().max() > 0 else distance(student, 2 * teacher)


@fails("never_waits_for_the_device")
@loss("hidden_read", on="logits")
def hidden_read(student: Tensor, teacher: Tensor) -> Tensor:
    """Autograd's formula for a product looks for zeros on the host."""
    return distance(student.float().prod(1), teacher.float().prod(1))


@fails("shapes_do_not_depend_on_values")
@loss("masks", on="logits")
def masks(student: Tensor, teacher: Tensor) -> Tensor:
    difference = student.float() - teacher.detach().float()
    return difference[difference > 0].sum() / student.numel()


@fails("shapes_do_not_depend_on_values")
@loss("breaks_the_graph", on="logits")
def breaks_the_graph(student: Tensor, teacher: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return distance(student, teacher)


@fails("diagnostics_are_scalars")
@loss("long_diagnostics", on="logits", project=False)
class LongDiagnostics(nn.Module):
    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        self.difference = (student - teacher).detach()
        return distance(student, teacher)

    def diagnostics(self) -> dict[str, Tensor]:
        return {"difference": self.difference.mean(0)}


@loss("sp_by_l1", on="stages", project=False)
def similarity_by_l1(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Similarity-preserving distillation with the rows divided by their L1 norm, as a released library has it."""
    grams = [x[-1].float().flatten(1) @ x[-1].float().flatten(1).T for x in (student, teacher)]
    ours, theirs = (F.normalize(gram, p=1, dim=1) for gram in grams)
    return (ours - theirs.detach()).square().mean()


def similarity_of_the_paper(student: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> Tensor:
    """Tung and Mori, ICCV 2019, eq. 1-4: rows of unit L2 norm."""
    ours, theirs = (x[-1].flatten(1) @ x[-1].flatten(1).T for x in (student, teacher))
    rows = [gram / gram.square().sum(1, keepdim=True).sqrt() for gram in (ours, theirs)]
    return (rows[0] - rows[1]).square().sum() / len(rows[0]) ** 2
