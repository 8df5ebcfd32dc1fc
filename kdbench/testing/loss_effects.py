"""What a loss must not do beside its value: wait, draw, remember outside of its state, or change what it is given."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from kdbench.engine.objective import Objective
from kdbench.engine.term import Term
from kdbench.recipes.terms import LossTerm
from kdbench.testing.base import Failed, Skipped
from kdbench.testing.demands import (
    Named,
    demand_no_reads,
    demand_round_trip,
    equal,
    nothing_drawn,
    seen_in,
    untouched,
)
from kdbench.testing.explain import explained
from kdbench.testing.isolation import seed_everything
from kdbench.testing.loss_case import LossCase, is_zero
from kdbench.testing.samples import tensors
from kdbench.testing.watch import synchronising_is_an_error


def is_deterministic(case: LossCase) -> None:
    """The same call from the same state gives the same value and gradients, bit for bit."""
    runs = []
    for _ in range(2):
        seed_everything()
        sample = case.draw()
        value = case.value(case.build(), sample)
        gradients = case.gradients(value, sample)
        runs.append({"value": value.detach(), **{name: g for name, g in gradients.items() if g is not None}})
    if not equal(*runs):
        first, second = (run["value"] for run in runs)
        raise Failed(
            f"two calls on the same features from the same state give {first:.9g} and {second:.9g}, or unlike gradients"
        )


def leaves_random_states_alone(case: LossCase) -> None:
    """No call draws from a global source of random numbers, on which the order of the data depends."""
    sample, term = case.draw(), case.build()
    with nothing_drawn(after="; keep a counter instead"):
        case.gradients(case.value(term, sample), sample)


def state_round_trips(case: LossCase) -> None:
    """A new instance with its saved state goes on with the same values: nothing is remembered outside of the state."""
    term = case.build()
    if not case.is_module and not term.state_dict():
        raise Skipped("it has no state")
    for seed in (1, 2):
        case.value(term, case.draw(seed=seed))
    samples = [case.draw(seed=seed) for seed in (3, 1)]
    calls = [lambda term, sample=sample: {"value": case.value(term, sample).detach()} for sample in samples]
    demand_round_trip(term, case.build(seed=1), *calls)


def weight_zero_changes_nothing(case: LossCase) -> None:
    """With weight 0 the networks' gradients are what they are without it, even where its value is NaN."""
    alone = _gradients_of_training(case, None)
    for words, undefined in (("", False), (" and a value of NaN", True)):
        watched_too = _gradients_of_training(case, undefined)
        for name in sorted({*alone, *watched_too}):
            if name not in alone or name not in watched_too or not torch.equal(alone[name], watched_too[name]):
                raise Failed(f"with weight 0{words} it changes the gradient on the student's {name}")


def _gradients_of_training(case: LossCase, undefined: bool | None) -> Named:
    """Gradients of a step with another loss and, unless `undefined` is None, this one at weight 0."""
    sample, partner = case.draw(), "st" if case.name == "ce" else "ce"
    terms = {partner: LossTerm(weight=1.0)} | ({} if undefined is None else {case.name: case.spec(weight=0.0)})
    torch.manual_seed(0)
    objective = Objective(terms, case.context(), owner="student").to(case.device).train()
    for module in objective.modules():
        if undefined and isinstance(module, Term) and module.name == case.name:
            module.register_forward_hook(lambda _module, _given, value: value * float("nan"))
    teachers = [case.seen(teacher) for teacher in sample.teachers]
    objective([case.shown(sample.student)], teachers, sample.batch)[0].backward()
    leaves = tensors(sample.student).items()
    return {name: leaf.grad for name, leaf in leaves if leaf.grad is not None and leaf.grad.any()}


def inputs_stay_as_they_are(case: LossCase) -> None:
    """Neither features nor labels are changed in place."""
    sample = case.draw()
    student, teachers = case.shown(sample.student), [case.seen(teacher) for teacher in sample.teachers]
    given = [("the labels", sample.batch.label), ("the index", sample.batch.index)]
    for owner, branches in {"student": [student], "teacher": teachers}.items():
        given += [(f"the {owner}'s {name}", x) for branch in branches for name, x in tensors(branch).items()]
    with untouched(*given):
        case.build()([student], teachers if case.distils else [], sample.batch)


def never_waits_for_the_device(case: LossCase) -> None:
    """No value is read on the host, on which a GPU would have to be waited for."""
    demand_no_reads(_call(case))
    if torch.cuda.is_available() and case.declares["compiles"]:
        sample = case.draw().to(device=torch.device("cuda"))
        term = case.build().cuda()
        case.value(copy.deepcopy(term), sample).backward()
        with synchronising_is_an_error():
            case.value(term, sample).backward()


def shapes_do_not_depend_on_values(case: LossCase) -> None:
    """It survives `torch.compile(fullgraph=True)` with the same value, or declares `compiles=False`."""
    if not case.declares["compiles"]:
        raise Skipped("it declares compiles=False")
    if shapes := dict.fromkeys(seen_in(_call(case)).shapes):
        raise Failed(f"a shape depends on values: {', '.join(shapes)}; use torch.where, or declare compiles=False")
    sample = case.draw()
    loss, arguments, extra = case.bare(sample)
    expected = copy.deepcopy(loss)(*arguments, **extra)
    torch.compiler.reset()
    try:
        whole: Callable[..., Tensor] = torch.compile(loss, backend="eager", fullgraph=True)
        value = whole(*arguments, **extra)
    except Exception as error:
        raise Failed(f"it does not survive torch.compile(fullgraph=True): {explained(error)}") from error
    finally:
        torch.compiler.reset()
    if not torch.allclose(value, expected, rtol=1e-4, atol=1e-6):
        raise Failed(f"its value is {value.item():.6g} compiled and {expected.item():.6g} as written")
    compiled, eager = (case.gradients(result, sample) for result in (value, expected))
    for name, gradient in eager.items():
        other = compiled[name]
        if is_zero(other) != is_zero(gradient):
            raise Failed("compiled, its gradient does not reach what it reaches as written")
        if other is None or gradient is None:
            continue
        share = (other - gradient).norm().item() / max(gradient.norm().item(), 1e-30)
        if share > 1e-4:
            raise Failed(f"compiled, its gradient of the {name} is off by {share:.2g} times its norm")


def diagnostics_are_scalars(case: LossCase) -> None:
    """`diagnostics()` gives scalar tensors by name."""
    term = case.build()
    if not hasattr(term.losses[0], "diagnostics"):
        raise Skipped("it has no diagnostics")
    case.value(term, case.draw())
    for name, value in term.losses[0].diagnostics().items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            kind = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise Failed(f"its diagnostics {name!r} is {kind}, expected a scalar tensor")


def _call(case: LossCase) -> Callable[[], Named]:
    term, sample = case.build(), case.draw()
    return lambda: {"value": case.value(term, sample)}
