"""Value and gradient of every loss are finite where classes, trials or differences lack, or it refuses by name."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from loss_cases import CLIP, IMAGE, SPACE, STUDENT_CHANNELS, TEACHER_CHANNELS, changed, classifier, tensors
from sweep import swept
from torch import Tensor

from kdbench.engine.term import Term
from kdbench.errors import UsageError
from kdbench.losses import BUILTIN
from kdbench.losses.bridged import ENTRIES
from kdbench.recipes.terms import LossTerm
from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Features, Widths

REQUIRED: dict[str, dict[str, Any]] = {
    "KDLoss": {"temperature": 4.0, "alpha": 0.5},
    "LogitStdKDLoss": {"temperature": 4.0, "alpha": 0.5},
    "AltActTransferLoss": {"margin": 1.0, "reduction": "batchmean"},
    "CCKDLoss": {"kernel_config": {"type": "gaussian", "gamma": 0.1, "max_p": 2}, "reduction": "batchmean"},
    "RKDLoss": {"dist_factor": 25.0, "angle_factor": 50.0, "reduction": "mean"},
    "SPKDLoss": {"reduction": "batchmean"},
}
BRIDGED = [f"torchdistill:{name}" for name in ENTRIES]
# What one class or one trial leaves undefined, and says so.
REFUSES = {
    **{
        (name, case): "there is 1 class"
        for name in ("dkd", "nkd", "sdd")
        for case in ("one class", "one class, equal", "one class, one trial")
    },
    ("shared_space", "one channel"): "1 in one of width 1",
}


def _same(x: Tensor) -> Tensor:
    return x


def _certain(x: Tensor) -> Tensor:
    """Logits of ±1e4 of which one is positive."""
    return torch.full_like(x, -1e4).scatter(1, x.argmax(1, keepdim=True), 1e4)


@dataclass(frozen=True)
class Given:
    """Features to evaluate a loss on."""

    classes: int = 6
    samples: int = 5
    student: Callable[[Tensor], Tensor] = _same
    teacher: Callable[[Tensor], Tensor] = _same
    logits: Callable[[Tensor], Tensor] = _same
    equal: bool = False
    pixel: bool = False
    channels: int | None = None
    label: int | None = None
    dtype: torch.dtype = torch.float32


def _both(change: Callable[[Tensor], Tensor], **more: Any) -> Given:
    return Given(student=change, teacher=change, **more)


def _alike(x: Tensor) -> Tensor:
    return x[:1].expand_as(x).clone()


CASES = {
    "one class": Given(classes=1),
    "one class, equal": Given(classes=1, equal=True),
    "one class, one trial": Given(classes=1, samples=1),
    "two classes": Given(classes=2, samples=2),
    "one trial": Given(samples=1),
    "one trial, equal": Given(samples=1, equal=True),
    "ones": _both(torch.ones_like),
    "zeros": _both(torch.zeros_like),
    "a student of zeros": Given(student=torch.zeros_like),
    "a teacher of zeros": Given(teacher=torch.zeros_like),
    "a trial of zeros": _both(lambda x: torch.cat([torch.zeros_like(x[:1]), x[1:]])),
    "equal networks": Given(equal=True),
    "equal networks of ones": _both(torch.ones_like, equal=True),
    "equal trials": _both(_alike),
    "equal trials and networks": _both(_alike, equal=True),
    "one pixel": Given(pixel=True),
    "one pixel, one trial": Given(pixel=True, samples=1),
    "one channel": Given(channels=1),
    "one label": Given(label=2),
    "certain": Given(logits=_certain),
    "certain, equal": Given(logits=_certain, equal=True),
    "certain of other classes": Given(logits=lambda x: _certain(x).roll(1, 0)),
    "bf16": Given(dtype=torch.bfloat16),
    "float16": Given(dtype=torch.float16),
    "float16 of ones": _both(torch.ones_like, dtype=torch.float16),
    "certain in bf16": Given(logits=_certain, dtype=torch.bfloat16),
    "certain in float16": Given(logits=_certain, dtype=torch.float16),
}


@pytest.mark.slow
@swept("case", CASES)
@pytest.mark.parametrize("name", [*BUILTIN, *BRIDGED])
def test_value_and_gradient_are_finite(name: str, case: str) -> None:
    for params in _variants(name):
        if (name, case) in REFUSES:
            with pytest.raises(UsageError, match=f"{name}.* {REFUSES[name, case]}"):
                _evaluated(name, params, CASES[case])
            continue
        value, gradients = _evaluated(name, params, CASES[case])
        assert value.isfinite(), f"{params}: {value}"
        assert all(gradient.isfinite().all() for gradient in gradients), params


@pytest.mark.parametrize("params", [{}, {"standardize": True}, {"standardize": True, "reduction": "sum"}])
def test_soft_targets_of_one_class_are_met(params: dict[str, Any]) -> None:
    value, gradients = _evaluated("st", params, CASES["one class"])
    assert value == 0
    assert all(not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", ["AffinityLoss", "FTLoss", "KTALoss", "SRDLoss", "DISTPlusLoss"])
def test_a_network_that_has_run_away_does_not_look_well(name: str) -> None:
    for size in (torch.nan, torch.inf):
        full = f"torchdistill:{name}"
        value, _ = _evaluated(full, _variants(full)[0], Given(student=lambda x: x * size))  # noqa: B023
        assert not value.isfinite()


def _variants(name: str) -> list[dict[str, Any]]:
    """The defaults, then each choice of each parameter that has several."""
    part = registry("loss").get(name)
    base: dict[str, Any] = {}
    if name in BRIDGED:
        entry = ENTRIES[name.partition(":")[2]]
        base = dict(REQUIRED.get(name.partition(":")[2], {}))
        if accepted := [trap.name for trap in entry.traps]:
            base["accept"] = accepted
        return [base]
    hints = typing.get_type_hints(part.__init__ if inspect.isclass(part) else part)
    found = [base]
    for parameter in inspect.signature(part).parameters.values():
        hint = hints.get(parameter.name)
        choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        if isinstance(parameter.default, bool):
            choices = (True, False)
        found += [{parameter.name: choice} for choice in choices if choice != parameter.default]
    # Without a head it takes channels of one number alone, and is what it is with a head of ones.
    found = [params for params in found if (name, params.get("head")) != ("series", "none")]
    return found


def _evaluated(name: str, params: dict[str, Any], case: Given) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(0)
    grids = (((1, 1),) * 4,) * 2 if case.pixel else (IMAGE if case.equal or name in BRIDGED else CLIP, IMAGE)
    widths = (TEACHER_CHANNELS if case.equal else STUDENT_CHANNELS, TEACHER_CHANNELS)
    if case.channels is not None:
        widths = ((case.channels,) * 4,) * 2
    groups = min(3, case.classes)
    declares = part_of(registry("loss").get(name)).declares
    context = Context(
        classes=case.classes,
        student=Widths(case.classes, widths[0], widths[0][-1], SPACE, groups, token_errors=2),
        teachers=(Widths(case.classes, widths[1], widths[1][-1], SPACE, groups, token_errors=2),),
        label_vectors=torch.randn(case.classes, SPACE, generator=torch.Generator().manual_seed(7)),
        groups=torch.arange(case.classes) % groups,
        train_size=20,
        student_classifiers=(classifier(widths[0][-1], case.classes),),
        teacher_classifiers=(classifier(widths[1][-1], case.classes).requires_grad_(False),),
        student_projections=_projections(widths[0][-1]) if "student_projections" in declares["needs"] else (),
        teacher_head="teacher_head" in declares["needs"],
        series={"gyroscope": (torch.zeros(3), torch.tensor([1.0, 0.0, 2.0]))},
    )
    term = Term(name, LossTerm(**params), context, where=f"student.losses.{name}").train()
    student = _features(case, widths[0], grids[0], case.student, 0)
    teacher = _features(case, widths[1], grids[1], case.teacher, 1)
    if case.equal:
        teacher = changed(student, lambda x: x.clone())
    student = changed(student, lambda x: x.clone().requires_grad_())
    label = torch.arange(case.samples) % case.classes
    batch = Batch(
        sensors={"gyroscope": torch.randn(case.samples, 3, 20, generator=torch.Generator().manual_seed(8))},
        video=None,
        label=label if case.label is None else torch.full_like(label, case.label),
        trial=tuple(f"t{row}" for row in range(case.samples)),
        index=torch.arange(case.samples),
    )
    value = term([student], [teacher] if declares["teacher"] else [], batch)
    inputs = [*tensors(student), *term.parameters()]
    found = torch.autograd.grad(value, inputs, allow_unused=True) if value.requires_grad else ()
    return value.detach(), [gradient for gradient in found if gradient is not None]


def _projections(width: int) -> tuple[torch.nn.Linear, ...]:
    """Of some branches, each to an equal part of the embedding."""
    branches = 2 if width % 2 == 0 else width
    return tuple(torch.nn.Linear(3, width // branches, bias=False) for _ in range(branches))


def _features(
    case: Given, channels: tuple[int, ...], grids: Any, change: Callable[[Tensor], Tensor], seed: int
) -> Features:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return change(torch.randn(case.samples, *shape, generator=generator)).to(case.dtype)

    def scores(count: int) -> Tensor:
        return case.logits(draw(count).float()).to(case.dtype)

    return Features(
        logits=scores(case.classes),
        stages=tuple(draw(width, *grid) for width, grid in zip(channels, grids, strict=True)),
        embedding=draw(channels[-1]),
        semantic=draw(SPACE),
        ablated_logits=scores(case.classes),
        group_logits=scores(min(3, case.classes)),
        # In float16 the square of a large number is none.
        token_errors=draw(2).abs(),
    )
