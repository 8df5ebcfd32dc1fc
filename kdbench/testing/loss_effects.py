"""What a loss must not do beside its value: wait, draw, remember outside of its state, or change what it is given."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from kdbench.engine.objective import Objective
from kdbench.engine.term import Term
from kdbench.recipes.schema import LossTerm
from kdbench.testing.base import Failed, Skipped
from kdbench.testing.explain import explained
from kdbench.testing.isolation import RandomStates, seed_everything
from kdbench.testing.loss_case import LossCase, draw_for, gradients, is_zero
from kdbench.testing.samples import tensors
from kdbench.testing.watch import Watch, hidden_reads, synchronising_is_an_error, watched


def is_deterministic(case: LossCase) -> None:
    """The same call from the same state gives the same value and gradients, bit for bit."""
    runs = []
    for _ in range(2):
        seed_everything()
        sample = draw_for(case)
        value = case.value(case.build(), sample)
        runs.append([value.detach(), *gradients(value, list(case.inputs(sample.student).values()))])
    if not torch.equal(_held(runs[0][0]), _held(runs[1][0])):
        raise Failed(f"two calls on the same features from the same state give {runs[0][0]:.9g} and {runs[1][0]:.9g}")
    if not all(_same(first, second) for first, second in zip(*runs, strict=True)):
        raise Failed("two calls on the same features from the same state give unlike gradients")


def leaves_random_states_alone(case: LossCase) -> None:
    """No call draws from a global source of random numbers, on which the order of the data depends."""
    sample, term = draw_for(case), case.build()
    before = RandomStates.now()
    value = case.value(term, sample)
    gradients(value, list(case.inputs(sample.student).values()))
    changed = before.changed(RandomStates.now())
    if changed:
        raise Failed(
            f"it draws from a global source of random numbers, {' and '.join(changed)}; keep a counter instead"
        )


def state_round_trips(case: LossCase) -> None:
    """A new instance with its saved state goes on with the same values: nothing is remembered outside of the state."""
    term = case.build()
    if not case.is_module and not term.state_dict():
        raise Skipped("it has no state")
    for seed in (1, 2):
        case.value(term, draw_for(case, seed=seed))
    saved = {name: value.detach().clone() for name, value in term.state_dict().items()}
    other = case.build(seed=1)
    other.load_state_dict(saved)
    for seed in (3, 1):
        ours, theirs = (case.value(each, draw_for(case, seed=seed)).detach() for each in (term, other))
        if not torch.equal(ours, theirs):
            raise Failed(
                f"it gives {ours:.9g}, and {theirs:.9g} after its state was saved and loaded into a new instance; "
                "keep what it remembers in parameters and buffers"
            )


def weight_zero_changes_nothing(case: LossCase) -> None:
    """With weight 0 the networks' gradients are what they are without it, even where its value is NaN."""
    alone = _gradients_of_training(case, None)
    for words, undefined in (("", False), (" and a value of NaN", True)):
        watched_too = _gradients_of_training(case, undefined)
        for name, gradient in alone.items():
            if not _same(gradient, watched_too[name]):
                raise Failed(f"with weight 0{words} it changes the gradient on the student's {name}")


def _gradients_of_training(case: LossCase, undefined: bool | None) -> dict[str, Tensor | None]:
    """Gradients of a step with another loss and, unless `undefined` is None, this one at weight 0."""
    sample, partner = draw_for(case), "st" if case.name == "ce" else "ce"
    terms = {partner: LossTerm(weight=1.0)} | ({} if undefined is None else {case.name: case.spec(weight=0.0)})
    torch.manual_seed(0)
    objective = Objective(terms, case.context(), owner="student").to(case.device).train()
    for module in objective.modules():
        if undefined and isinstance(module, Term) and module.name == case.name:
            module.register_forward_hook(lambda _module, _given, value: value * float("nan"))
    student = case.shown(sample.student)
    teachers = [case.seen(teacher) for teacher in sample.teachers]
    loss, _ = objective([student], teachers, sample.batch)
    loss.backward()
    return {
        name: None if tensor.grad is None or not tensor.grad.any() else tensor.grad
        for name, tensor in tensors(sample.student).items()
    }


def inputs_stay_as_they_are(case: LossCase) -> None:
    """Neither features nor labels are changed in place."""
    sample = draw_for(case)
    given = {"student": [case.shown(sample.student)], "teacher": [case.seen(t) for t in sample.teachers]}
    named: dict[str, Tensor] = {"labels": sample.batch.label, "index": sample.batch.index}
    for owner, branches in given.items():
        for branch in branches:
            named |= {f"{owner}'s {name}": tensor for name, tensor in tensors(branch).items()}
    before = {name: (tensor.detach().clone(), tensor._version) for name, tensor in named.items()}
    case.build()(given["student"], given["teacher"] if case.distils else [], sample.batch)
    for name, tensor in named.items():
        held, version = before[name]
        if tensor._version != version or not torch.equal(tensor, held):
            raise Failed(f"it changes the {name} in place; other losses read them too")


def never_waits_for_the_device(case: LossCase) -> None:
    """No value is read on the host, on which a GPU would have to be waited for."""
    reads = _watch(case).reads
    if reads:
        raise Failed(f"it reads a value on the host: {_listed(reads)}; keep it on the device")
    if torch.cuda.is_available() and case.declares["compiles"]:
        sample = draw_for(case).to(device=torch.device("cuda"))
        term = case.build().cuda()
        case.value(copy.deepcopy(term), sample).backward()
        with synchronising_is_an_error():
            case.value(term, sample).backward()


def shapes_do_not_depend_on_values(case: LossCase) -> None:
    """It survives `torch.compile(fullgraph=True)` with the same value, or declares `compiles=False`."""
    if not case.declares["compiles"]:
        raise Skipped("it declares compiles=False")
    shapes = _watch(case).shapes
    if shapes:
        raise Failed(f"a shape depends on values: {_listed(shapes)}; use torch.where, or declare compiles=False")
    sample = draw_for(case)
    loss, arguments, extra = case.bare(sample)
    expected = copy.deepcopy(loss)(*arguments, **extra)
    torch.compiler.reset()
    try:
        value = torch.compile(loss, backend="eager", fullgraph=True)(*arguments, **extra)
    except Exception as error:
        raise Failed(f"it does not survive torch.compile(fullgraph=True): {explained(error)}") from error
    finally:
        torch.compiler.reset()
    if not torch.allclose(value, expected, rtol=1e-4, atol=1e-6):
        raise Failed(f"its value is {value.item():.6g} compiled and {expected.item():.6g} as written")
    inputs = list(case.inputs(sample.student).values())
    pairs = zip(gradients(value, inputs), gradients(expected, inputs), strict=True)
    if any(is_zero(compiled) != is_zero(eager) for compiled, eager in pairs):
        raise Failed("compiled, its gradient does not reach what it reaches as written")


def diagnostics_are_scalars(case: LossCase) -> None:
    """`diagnostics()` gives scalar tensors by name."""
    term = case.build()
    if not hasattr(term.losses[0], "diagnostics"):
        raise Skipped("it has no diagnostics")
    case.value(term, draw_for(case))
    for name, value in term.losses[0].diagnostics().items():
        if not isinstance(value, Tensor) or value.ndim != 0:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise Failed(f"its diagnostics {name!r} is {found}, expected a scalar tensor")


def _watch(case: LossCase) -> Watch:
    """What happens in a call and in its backward pass, from the second call on: the first may set something up."""
    term, sample = case.build(), draw_for(case)
    case.value(term, sample)
    leaves = list(case.inputs(sample.student).values())
    with watched() as seen:
        value = case.value(term, sample)
        if value.requires_grad:
            torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    seen.reads += hidden_reads(value)
    return seen


def _listed(places: list[str]) -> str:
    return ", ".join(dict.fromkeys(places))


def _held(tensor: Tensor | None) -> Tensor:
    return torch.zeros(()) if tensor is None else tensor.detach()


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    return (first is None) == (second is None) and torch.equal(_held(first), _held(second))
