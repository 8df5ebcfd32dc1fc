"""What every loss promises to the training loop: values, gradients, precision, state.

Whatever is random is drawn from generators of the checks' own, with fixed seeds.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from kdbench.engine.declared import reads_labels
from kdbench.engine.term import Term
from kdbench.errors import KdbenchError, UsageError
from kdbench.testing.base import Failed, Skipped
from kdbench.testing.demands import demand_finite
from kdbench.testing.loss_case import LossCase, is_zero
from kdbench.testing.samples import (
    CLIP,
    IMAGE,
    ONE_CLASS,
    PIXEL,
    SERIES,
    STUDENT,
    Sample,
    tensors,
    with_tensor,
)
from kdbench.types import Features

STEPS = (1e-6, 1e-3, 1e-1)
STAGES = 4
ROUNDING = 1e-9
"""A gradient below this is what cancelling leaves."""


def returns_a_scalar(case: LossCase) -> None:
    """A call gives a scalar tensor of floating point."""
    value = case.value(case.build(), case.draw())
    if not value.is_floating_point():
        raise Failed(f"it returned {value.dtype}, expected a floating-point scalar")


def is_finite(case: LossCase) -> None:
    """Value and gradients are finite on ordinary features."""
    for seed in range(3):
        _finite(case, case.draw(seed=seed), "on ordinary features")


def survives_degenerate_features(case: LossCase) -> None:
    """Value and gradients are finite where samples coincide, networks agree, features are zero, or scores certain."""
    ordinary = case.draw()
    alike = ordinary.reordered(torch.zeros(len(ordinary.batch), dtype=torch.int64, device=case.device))
    _finite(case, alike.replace(batch=ordinary.batch), "where all samples of a batch are alike")
    zero = ordinary.replace(
        student=ordinary.student.mapped(_zeros),
        teachers=tuple(t.mapped(torch.zeros_like) for t in ordinary.teachers),
    )
    _finite(case, zero, "where all features are zero")
    one = ordinary.through(lambda x: torch.cat([torch.zeros_like(x[:1]), x[1:]]))
    _finite(case, one, "where the features of one trial are zero")
    _finite(case, ordinary.through(torch.ones_like), "where all features are one")
    _finite(case, case.draw(grids=(PIXEL, PIXEL)), "where every map is one pixel")
    certain = ordinary.replace(
        student=ordinary.student.replace(logits=_certain(ordinary.student.logits).requires_grad_()),
        teachers=tuple(teacher.replace(logits=_certain(teacher.logits)) for teacher in ordinary.teachers),
    )
    _finite(case, certain, "where the scores of one class are 10,000 and all others -10,000")
    twins = case.draw(grids=(CLIP, CLIP), widths=(STUDENT, STUDENT))
    same = twins.student.mapped(lambda tensor: tensor.detach().clone())
    twins = twins.replace(teachers=(same,) * len(twins.teachers))
    _finite(case, twins, "where the student's features are the teacher's", case.build(STUDENT))


def gradient_reaches_the_student(case: LossCase) -> None:
    """A gradient reaches every input of the student that it declares and that its value depends on."""
    strange = sorted(set(case.declares["detaches"]) - set(case.fields))
    if strange:
        raise Failed(f"it declares detaches={strange[0]!r}, which is none of the fields that it reads")
    sample = case.draw()
    gradients = case.gradients(case.value(case.build(), sample), sample)
    wanted = [name for name in gradients if _field(name) not in case.cut]
    moving = [name for name in wanted if _moves(case, sample, name)]
    lost = [name for name in moving if is_zero(gradients[name])]
    if lost:
        raise Failed(
            f"its value depends on the student's {', '.join(lost)}, and no gradient gets there: something between "
            "leaves torch's graph (detach, no_grad, numpy, .item())"
        )
    reached = {_field(name) for name in gradients if not is_zero(gradients[name])}
    if not reached:
        raise Failed(f"no gradient reaches the student, on none of {', '.join(wanted)}")
    unread = [name for name in (case.on, *case.declares["reads"]) if name and name not in reached | case.cut]
    if unread:
        raise Failed(f"it declares that it reads {', '.join(unread)}, and its value does not depend on it")
    missed = [name for name in _chosen_stages(case) if is_zero(gradients.get(name))]
    if missed:
        raise Failed(f"its parameter 'stages' chooses {', '.join(missed)}, and no gradient gets there")


def gradient_is_the_slope(case: LossCase) -> None:
    """The gradient agrees with finite differences of the value."""
    sample = case.draw().to(torch.float64)
    gradients = case.gradients(case.value(case.build().double(), sample), sample)
    reached = {n: g for n, g in gradients.items() if g is not None and g.any() and _field(n) not in case.cut}
    if not reached:
        raise Skipped("no gradient reaches the student")
    for number, (name, gradient) in enumerate(reached.items()):
        size = torch.linalg.vector_norm(gradient)
        if size < ROUNDING:
            continue
        generator = torch.Generator().manual_seed(number)
        random = torch.randn(gradient.shape, generator=generator, dtype=gradient.dtype).to(case.device)
        for direction in (gradient / size, random / torch.linalg.vector_norm(random)):
            slope = (gradient * direction).sum()
            measured: list[Tensor] = []
            for step in STEPS:
                measured.append(_difference(case, sample, name, step * direction) / (2 * step))
                if (slope - measured[-1]).abs() <= 0.03 * slope.abs() + 0.01 * size:
                    break
            else:
                nearest = min(measured, key=lambda gradients: float((slope - gradients).abs()))
                raise Failed(
                    f"the gradient on the student's {name} is {slope:.4g} along a direction in which the value "
                    f"changes by {nearest:.4g} a unit; if part of it is held fixed on purpose, declare "
                    f'detaches=("{_field(name)}",)'
                )


def gradient_stays_off_the_teacher(case: LossCase) -> str | None:
    """The teacher's features are as they were given: without gradient, and asking for none."""
    case.distilling()
    sample = case.draw()
    frozen = [case.seen(teacher) for teacher in sample.teachers]
    value = case.build()([case.shown(sample.student)], frozen, sample.batch)
    if value.requires_grad:
        value.backward()
    for teacher in frozen:
        asking = [name for name, tensor in tensors(teacher).items() if tensor.requires_grad or tensor.grad is not None]
        if asking:
            raise Failed(f"it makes the teacher's {', '.join(asking)} ask for a gradient; the teacher is frozen")
    if _trains(case, sample):
        return "gradients also reach the teacher; harmless here (the teacher is frozen), otherwise detach it"
    return None


def _trains(case: LossCase, sample: Sample) -> bool:
    """Whether a gradient would reach a teacher whose features ask for one."""
    awake = tuple(teacher.mapped(lambda tensor: tensor.clone().requires_grad_()) for teacher in sample.teachers)
    try:
        value = case.value(case.build(), sample.replace(teachers=awake))
    except KdbenchError:
        # It may rely on what the framework promises, for example on `teacher.numpy()`.
        return False
    return any(
        not is_zero(gradient)
        for teacher in awake
        for gradient in case.gradients(value, sample.replace(student=teacher)).values()
    )


def takes_a_batch_of_one(case: LossCase) -> None:
    """The last batch may hold one trial: the value is finite, or the error says that more are needed."""
    with _may_refuse("batch", "sample"):
        _finite(case, case.draw(samples=1), "on a batch of one")


def labels_are_as_declared(case: LossCase) -> None:
    """Labels do with the value what `labels=` says: `unused` never changes it, `optional` knows that -1 is no label."""
    declared = reads_labels(case.name)
    if declared in (None, "needed"):
        raise Skipped("it declares labels='needed'" if declared else "it does not say what it does with labels")
    if not case.build().takes_batch:
        raise Skipped("it takes no batch, so it sees no label")
    sample = case.draw()
    label = sample.batch.label
    value = case.value(case.build(), sample).detach()
    other = sample.replace(batch=sample.batch.replace(label=(label + 1) % STUDENT.logits))
    if declared == "unused":
        without = sample.replace(batch=sample.batch.replace(label=torch.full_like(label, -1), labelled=0))
        for words, changed_sample in (("other labels", other), ("no labels", without)):
            again = case.value(case.build(), changed_sample).detach()
            if not torch.equal(again, value):
                raise Failed(f"it declares labels='unused', and gives {value:.6g}, and {again:.6g} with {words}")
        return
    half = len(label) // 2
    for words, count in (("half of the labels", half), ("no label", 0)):
        known = torch.arange(len(label), device=label.device) < count
        batch = sample.batch.replace(label=torch.where(known, label, -1), labelled=count)
        _finite(case, sample.replace(batch=batch), f"with {words} (-1 is none)")


def takes_one_class(case: LossCase) -> None:
    """A data set may have one class: the value is finite, or the error says that more are needed."""
    student, teacher = ONE_CLASS
    with _may_refuse("class"):
        _finite(case, case.draw(widths=ONE_CLASS), "with one class", case.build(teacher, student=student))


def takes_unlike_grids(case: LossCase) -> None:
    """The maps of student and teacher may differ in rank and resolution."""
    if "stages" not in case.fields:
        raise Skipped("it reads no maps")
    pairs = {"clip and series": (CLIP, SERIES), "series and image": (SERIES, IMAGE), "image and clip": (IMAGE, CLIP)}
    for words, grids in pairs.items():
        sample = case.draw(grids=grids)
        _finite(case, sample, f"where the maps of student and teacher are {words}")
        gradients = case.gradients(case.value(case.build(), sample), sample)
        if all(is_zero(gradient) for name, gradient in gradients.items() if name.startswith("stages")):
            raise Failed(f"no gradient reaches the student where the maps of student and teacher are {words}")


def holds_in_bf16(case: LossCase) -> str | None:
    """Features in bf16 give the value of the same features in float32, nearly, with and without autocast."""
    half = case.draw().to(torch.bfloat16)
    term = case.build()
    exact = case.value(copy.deepcopy(term), half.to(torch.float32)).detach()
    # A linear with weights may be taken down by autocast.
    tolerance = 0.05 if list(term.parameters()) else 0.02
    note = None
    for autocast in (True, False):
        words = "inside autocast" if autocast else "outside of autocast"
        with torch.autocast(case.device.type, torch.bfloat16, enabled=autocast):
            value = case.value(copy.deepcopy(term), half)
        demand_finite(_named(case, value, half), f"{words}, on bf16 features")
        if not float((value - exact).abs()) <= tolerance * float(exact.abs()) + 1e-5:
            raise Failed(f"bf16 features give {value:.6g} {words}, and {exact:.6g} in float32; compute in float32")
        if value.dtype not in (torch.float32, torch.float64):
            note = f"its value is {value.dtype} {words}; it would be more exact in float32"
    return note


def is_the_same_on_a_gpu(case: LossCase) -> None:
    """CPU and GPU give the same value and gradients."""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU here")
    sample, term = case.draw().to(device=torch.device("cpu")), case.build().cpu()
    there, term_there = sample.to(device=torch.device("cuda")), copy.deepcopy(term).cuda()
    ours, theirs = case.value(term, sample), case.value(term_there, there)
    if not torch.allclose(theirs.cpu(), ours, rtol=1e-3, atol=1e-6):
        raise Failed(f"its value is {theirs.item():.6g} on the GPU and {ours.item():.6g} on the CPU")
    gradients_there, gradients_here = case.gradients(theirs, there), case.gradients(ours, sample)
    for name, on_cpu in gradients_here.items():
        on_gpu = gradients_there[name]
        if (on_gpu is None) != (on_cpu is None):
            raise Failed("a gradient is there on one of CPU and GPU alone")
        if on_gpu is not None and on_cpu is not None:
            largest = float(on_cpu.abs().max())
            if float((on_gpu.cpu() - on_cpu).abs().max()) > 1e-2 * largest + 1e-7:
                raise Failed("the gradient on the GPU is not that on the CPU")


def follows_its_declared_order(case: LossCase) -> None:
    """Its value depends on the order of the trials if, and only if, it declares `batch_order="sensitive"`."""
    sample = case.draw()
    value = case.value(case.build(), sample).detach()
    orders = [torch.randperm(len(sample.batch), generator=torch.Generator().manual_seed(n)) for n in range(1, 4)]
    values = [case.value(case.build(), sample.reordered(order.to(case.device))).detach() for order in orders]
    moved = [other for other in values if not torch.allclose(other, value, rtol=1e-4, atol=1e-6)]
    if moved and case.declares["batch_order"] == "invariant":
        raise Failed(
            f"its value is {value:.6g}, and {moved[0]:.6g} with the trials in another order; "
            'if that is meant, declare batch_order="sensitive"'
        )
    if not moved and case.declares["batch_order"] == "sensitive":
        raise Failed('it declares batch_order="sensitive", and three other orders give the same value')


def uses_the_teacher(case: LossCase) -> None:
    """Its value moves when the teacher's features do."""
    case.distilling()
    sample = case.draw()
    other = sample.replace(teachers=case.draw(seed=5).teachers)
    if torch.equal(case.value(case.build(), sample), case.value(case.build(), other)):
        raise Failed("its value is the same whatever the teacher's features are")


def three_steps_lower_it(case: LossCase) -> None:
    """Three steps of an optimiser on one batch make it smaller."""
    sample, term, before = case.draw(), case.build(), case.build()
    start = case.value(copy.deepcopy(before), sample)
    if all(map(is_zero, case.gradients(start, sample).values())):
        raise Skipped("no gradient reaches the student")
    optimizer = torch.optim.Adam([*case.inputs(sample.student).values(), *term.parameters()], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        case.value(term, sample).backward()
        optimizer.step()
    with torch.no_grad():
        for parameter, learnt in zip(before.parameters(), term.parameters(), strict=True):
            parameter.copy_(learnt)
    end = case.value(before, sample)
    if not end < start:
        raise Failed(f"it is {start:.6g} before and {end:.6g} after three steps of Adam on one batch")


def equals_the_reference(case: LossCase) -> None:
    """Its value equals the reference that was given."""
    if case.reference is None:
        raise Skipped("no reference was given: check(…, reference=function of the same inputs)")
    loss = case.build(STUDENT).losses[0]
    for number, (arguments, expected) in enumerate(_references(case)):
        value = float(loss(*arguments))
        if not abs(value - expected) <= case.tolerance * abs(expected) + 1e-9:
            raise Failed(f"its value is {value:.8g}, and {expected:.8g} by the reference (case {number + 1})")


def _references(case: LossCase) -> list[tuple[tuple[Any, ...], float]]:
    if not callable(case.reference):
        return [
            (tuple(_tensors(case, argument) for argument in given), float(value)) for *given, value in case.reference
        ]
    references = []
    for seed in range(3):
        sample = case.draw(grids=(CLIP, CLIP), widths=(STUDENT, STUDENT), seed=seed)
        student, teacher = case.shown(sample.student), case.seen(sample.teachers[0])
        ours, theirs = (argument if case.on is None else getattr(argument, case.on) for argument in (student, teacher))
        arguments = (ours, theirs) if case.distils else (ours,)
        references.append((arguments, float(case.reference(*arguments))))
    return references


def _tensors(case: LossCase, given: Any) -> Any:
    if isinstance(given, Features):
        return given
    return tuple(map(torch.as_tensor, given)) if case.on == "stages" else torch.as_tensor(given)


@contextmanager
def _may_refuse(*words: str) -> Iterator[None]:
    """Lets an error pass that says by one of the words of what there is too little."""
    try:
        yield
    except UsageError as error:
        if not any(word in error.message for word in words):
            raise


def _finite(case: LossCase, sample: Sample, words: str, term: Term | None = None) -> None:
    demand_finite(_named(case, case.value(term or case.build(), sample), sample), words)


def _named(case: LossCase, value: Tensor, sample: Sample) -> dict[str, Tensor | None]:
    gradients = case.gradients(value, sample)
    return {"the value": value} | {
        f"the gradient on the student's {name}": gradient for name, gradient in gradients.items()
    }


def _moves(case: LossCase, sample: Sample, name: str) -> bool:
    """Whether the value depends on one tensor of the student."""
    other = case.inputs(case.draw(seed=3).student)[name]
    changed_one = sample.replace(student=with_tensor(sample.student, name, other))
    return not torch.equal(case.value(case.build(), sample), case.value(case.build(), changed_one))


def _difference(case: LossCase, sample: Sample, name: str, change: Tensor) -> Tensor:
    at = case.inputs(sample.student)[name].detach()
    values = []
    for sign in (1, -1):
        moved = with_tensor(sample.student, name, (at + sign * change).requires_grad_())
        values.append(case.value(case.build().double(), sample.replace(student=moved)))
    return (values[0] - values[1]).detach()


def _chosen_stages(case: LossCase) -> list[str]:
    """The stages that a parameter named `stages` asks for, as far as it says."""
    chosen: Sequence[int] | None = case.parameter("stages")
    if case.on != "stages" or chosen is None:
        return []
    return [f"stages[{index % STAGES}]" for index in chosen]


def _field(name: str) -> str:
    return name.partition("[")[0]


def _certain(logits: Tensor) -> Tensor:
    scores = torch.full_like(logits.detach(), -1e4)
    return scores.scatter(1, logits.detach().argmax(1, keepdim=True), 1e4)


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor).requires_grad_()
