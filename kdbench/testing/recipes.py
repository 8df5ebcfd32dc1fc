"""What every recipe promises before any training, and what the training that it starts guarantees.

The step that is looked at is the framework's own, on untrained networks; a loop, teacher or loader of one's own is held
to the same by `make` (see `kdbench.testing.recipe_case.RecipeCase`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from kdbench.data.native import pad
from kdbench.engine.loop import Training
from kdbench.engine.pairing import mispaired
from kdbench.engine.teacher import concatenate, fingerprint, select
from kdbench.engine.weights import weight_at
from kdbench.network import evaluating
from kdbench.recipes.schema import CONTROLS, PRESETS, Recipe
from kdbench.registry import registry
from kdbench.runs import provenance
from kdbench.runs.ahead import check_parts
from kdbench.runs.teacher import Teacher
from kdbench.testing.base import CheckSuite, Failed, Skipped, checks_in
from kdbench.testing.recipe_case import RecipeCase, StudentSetup, teacher_case
from kdbench.text.wording import counted, inflected
from kdbench.types import Batch, Features

EPOCH, STEP = 1, 0


def resolves_at_every_preset(case: RecipeCase) -> None:
    """Every preset resolves, to parts that exist."""
    for preset in PRESETS:
        recipe = case.resolved(preset)
        for kind, name in _parts(recipe):
            if not registry(kind).has(name):
                raise registry(kind).unknown(name)


def needs_are_met(case: RecipeCase) -> str | None:
    """The networks give every loss what it needs, before any training."""
    check_parts(case.context)
    controls = " and ".join(CONTROLS[name] for name in case.recipe.controls)
    return f"this is a control and no method: {controls}" if controls else None


def selects_nothing_on_what_it_reports(case: RecipeCase) -> None:
    """No preset reports the part on which it selects an epoch, or leaves out the test part."""
    for preset in PRESETS:
        selection = case.resolved(preset).selection
        if selection.part != "test":
            raise Failed(
                f"at {preset} it sets selection.part = {selection.part}: its results would be of the part that chooses "
                "hyper-parameters; leave that to --set"
            )


def every_loss_moves_its_network(case: RecipeCase) -> None:
    """In the first step every weighted loss is finite and gives its network a gradient."""
    for training in _trainings(case):
        batch = _batch(training)
        training.begin()
        _, _, values, _ = training.forward(batch, EPOCH, STEP)
        parameters = [parameter for parameter in training.network.parameters() if parameter.requires_grad]
        for number, name in enumerate(training.objective.names):
            value, key = values[number], f"{training.phase}.losses.{name}"
            if not weight_at(training.spec.losses[name].weight, 0.0):
                continue
            if not value.isfinite():
                raise Failed(f"{key} is {value.item()} in the first step")
            if not _reaches(value, parameters):
                raise Failed(f"{key} gives the {training.phase} no gradient in the first step")


def batches_hold_their_trials(case: RecipeCase) -> None:
    """Labels, series and frames of a batch are those of the trials that it names."""
    for training in _trainings(case):
        loader = training.loader
        order = torch.randperm(len(loader), generator=torch.Generator().manual_seed(3))
        for batch in loader.batches(order, training.spec.train.batch_size):
            truth = _truth(case, batch)
            pairs = {"label": (batch.label, truth.label)}
            pairs |= {f"{name} series": (batch.sensors[name], truth.sensors[name]) for name in batch.sensors}
            if batch.video is not None and truth.video is not None:
                pairs["video"] = (batch.video, truth.video)
            for words, (given, expected) in pairs.items():
                if wrong := [t for t, a, b in zip(batch.trial, given, expected, strict=True) if not _equal(a, b)]:
                    raise Failed(f"{training.phase}: the {words} of trial {wrong[0]} is another trial's")


def teacher_sees_the_students_trials(case: RecipeCase) -> str | None:
    """The teacher's features of a batch are those of the student's trials, in their order; a control's are not."""
    setup = _taught(case)
    training, shuffled = setup.training, setup.training.spec.pairing is not None
    assert training.teacher is not None
    for batch in training.loader.batches(range(len(training.loader)), training.spec.train.batch_size):
        given = training.teacher(batch, seed=0)
        seen = mispaired(batch, 0) if shuffled else batch
        right = [trial for trial, other in zip(batch.trial, seen.trial, strict=True) if trial == other]
        if shuffled and right and len(batch) > 1:
            raise Failed(f"student.pairing is shuffled, and the teacher sees the student's own trial {right[0]}")
        expected = _expected(case, setup.teachers, seen)
        for branch, truth in zip(given, expected, strict=True):
            wrong = [t for t, a, b in zip(batch.trial, branch.logits, truth.logits, strict=True) if not _near(a, b)]
            if wrong:
                raise Failed(
                    f"for the student's trial {wrong[0]} the teacher gives features of something else: "
                    "it does not see the same trials in the same order" + " as the shuffled pairing" * shuffled
                )
    return f"as wanted, {CONTROLS['wrong_trials']}: the recipe is a control" if shuffled else None


def teacher_stays_in_eval_mode(case: RecipeCase) -> None:
    """The teacher is in eval mode whenever it is called, and records no gradient."""
    setup = _stepped(case)
    if setup.calls.training or any(module.training for one in setup.teachers for module in one.network.modules()):
        raise Failed("the teacher is in training mode while the student trains")
    if setup.calls.gradient:
        raise Failed("the teacher's passes record gradients while the student trains")


def teacher_stays_as_it_was(case: RecipeCase) -> None:
    """A step leaves the teacher's state bit for bit, and gives it no gradient and no place in the optimiser."""
    setup = _taught(case)
    networks, training = [teacher.network for teacher in setup.teachers], setup.training
    before = [fingerprint(network) for network in networks]
    _step(training)
    if [fingerprint(network) for network in networks] != before:
        raise Failed("a step of the student's training changes the teacher's state")
    parameters = [parameter for network in networks for parameter in network.parameters()]
    if any(parameter.grad is not None for parameter in parameters):
        raise Failed("a step of the student's training gives the teacher a gradient")
    updated = {id(parameter) for group in training.optimizer.param_groups for parameter in group["params"]}
    if any(id(parameter) in updated for parameter in parameters):
        raise Failed("the student's optimiser holds the teacher's parameters")


def a_step_changes_the_student(case: RecipeCase) -> None:
    """A step changes the weights of the network in training, and leaves them finite."""
    for training in _trainings(case):
        before = [parameter.detach().clone() for parameter in training.network.parameters()]
        _step(training)
        if all(map(torch.equal, before, training.network.parameters())):
            raise Failed(f"a step leaves the {training.phase} as it was")
        wild = [name for name, parameter in training.network.named_parameters() if not parameter.isfinite().all()]
        if wild:
            raise Failed(f"after a step the {training.phase}'s {wild[0]} is not finite")


def the_test_part_selects_nothing(case: RecipeCase) -> None:
    """A training that selects its best epoch never reads the test part."""
    for training in _trainings(case):
        training.run()
    read = sorted(case.seen & set(case.context.split.test))
    if read:
        raise Failed(
            f"trial {read[0]} of the test part is read during training (so {inflected(len(read), 'is')} "
            f"{counted(len(read), 'trial')} of it)"
        )


_GATES = (resolves_at_every_preset, needs_are_met, batches_hold_their_trials)
SUITE = CheckSuite(RecipeCase, gates=_GATES, checks=checks_in(__name__))
TEACHERS = CheckSuite(teacher_case, gates=_GATES, checks=checks_in(__name__))


def _parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "semantics", recipe.semantics.name
    for spec in recipe.networks:
        yield from provenance.parts_of(spec)


def _trainings(case: RecipeCase) -> list[Training]:
    setup = case.student
    pair = case.teacher_training, setup.training if setup else None
    trainings = [training for training in pair if training is not None]
    if not trainings:
        raise Skipped("it trains nothing")
    return trainings


def _taught(case: RecipeCase) -> StudentSetup:
    setup = case.student
    if setup is None or not setup.teachers:
        raise Skipped("no student is taught by a teacher here")
    if setup.training.teacher is None:
        raise Failed("the student's training was set up without the teacher")
    return setup


@torch.no_grad()
def _expected(case: RecipeCase, teachers: Sequence[Teacher], batch: Batch) -> list[Features]:
    """What the teachers' networks say of a batch; of a cross-fitted teacher, for each trial the one of its fold."""
    truth = _truth(case, batch)
    expected: list[Features] = []
    of_folds: dict[str, list[list[Features]]] = {}
    for teacher in teachers:
        with evaluating(teacher.network):
            branches = teacher.network(teacher.network.represent(truth))
        if teacher.part.fold is None:
            expected += branches
        else:
            of_folds.setdefault(teacher.part.name, []).append(branches)
            if len(of_folds[teacher.part.name]) == teacher.part.spec.folds:
                folds = case.context.run_spec.folds(teacher.part.spec.folds)
                rows = [folds.get(trial, 0) for trial in batch.trial]
                expected += [
                    concatenate([select(answers[fold], torch.tensor([row])) for row, fold in enumerate(rows)])
                    for answers in zip(*of_folds[teacher.part.name], strict=True)
                ]
    return expected


def _stepped(case: RecipeCase) -> StudentSetup:
    setup = _taught(case)
    _step(setup.training)
    return setup


def _step(training: Training) -> None:
    training.begin()
    _, loss, values, _ = training.forward(_batch(training), EPOCH, STEP)
    training.backward(loss, values)


def _batch(training: Training) -> Batch:
    loader = training.loader
    return next(iter(loader.batches(range(len(loader)), training.spec.train.batch_size)))


def _truth(case: RecipeCase, batch: Batch) -> Batch:
    """The batch's trials, read one by one from the data set."""
    loader = case.context.loader(batch.trial, *case.specs(), trained=case.specs())
    rows = [next(iter(loader.batches([row], 1))) for row in range(len(loader))]
    first = rows[0]
    return batch.replace(
        sensors={
            name: torch.cat([pad(row.sensors[name], batch.sensors[name].shape[2]) for row in rows])
            for name in batch.sensors
        },
        video=None if first.video is None else torch.cat([row.video for row in rows if row.video is not None]),
        label=torch.cat([row.label for row in rows]),
    )


def _reaches(value: Tensor, parameters: list[torch.nn.Parameter]) -> bool:
    if not value.requires_grad:
        return False
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    return any(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _equal(first: Tensor, second: Tensor) -> bool:
    """Whether values are equal, NaN behind the ends of series included."""
    return torch.equal(torch.nan_to_num(first, torch.inf), torch.nan_to_num(second, torch.inf))


def _near(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(first, second, rtol=1e-3, atol=1e-4)
