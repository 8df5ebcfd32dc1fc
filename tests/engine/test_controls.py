"""The two controls: what they change, what they leave, and where they are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import tiny

from kdbench.engine.pairing import mispaired, with_series_of_others
from kdbench.errors import UsageError
from kdbench.recipes.resolve import resolve
from kdbench.recipes.schema import PRESETS
from kdbench.runs.context import context_for
from kdbench.runs.faculty import obtain_teachers, of_parts
from kdbench.runs.idle import refuse_idle
from kdbench.runs.request import RunRequest
from kdbench.runs.student import student_training
from kdbench.testing import check
from kdbench.types import Batch
from kdbench.util.records import read_json

WORLD = {"data": {"options": {"actions": 3, "subjects": 4, "trials": 2}}}
CONTROLS = {
    "hinton_random_teacher": "random_teacher",
    "hinton_random_teacher_raw": "random_teacher",
    "hinton_wrong_trials": "wrong_trials",
    "hinton_wrong_trials_raw": "wrong_trials",
}


def batch(count: int) -> Batch:
    rows = torch.arange(count)
    return Batch(
        sensors={"wrist": rows[:, None, None].float().expand(count, 3, 4)},
        video=rows[:, None, None, None, None].to(torch.uint8),
        label=rows + 100,
        trial=tuple(f"t{row}" for row in range(count)),
        index=rows,
        metadata={"subject": list(range(count))},
    )


@pytest.mark.parametrize("count", [2, 3, 16])
def test_no_trial_keeps_its_place_and_all_of_it_moves_together(count: int) -> None:
    for seed in range(50):
        moved = mispaired(batch(count), seed)
        rows = moved.index.tolist()
        assert sorted(rows) == list(range(count))
        assert all(row != place for place, row in enumerate(rows))
        assert moved.trial == tuple(f"t{row}" for row in rows)
        assert moved.sensors["wrist"][:, 0, 0].tolist() == rows
        assert moved.label.tolist() == [row + 100 for row in rows]
        assert moved.metadata["subject"] == rows


def test_the_pairing_depends_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    assert mispaired(batch(16), 3).trial == mispaired(batch(16), 3).trial
    assert mispaired(batch(16), 3).trial != mispaired(batch(16), 4).trial
    assert torch.equal(torch.get_rng_state(), state)


def test_a_batch_of_one_trial_stays() -> None:
    assert mispaired(batch(1), 0).trial == ("t0",)


def test_losses_on_series_are_told_those_of_the_teachers_wrong_trials() -> None:
    given = with_series_of_others(batch(6).replace(paired=4), 3)
    others = mispaired(batch(4), 3).index.tolist()
    assert given.sensors["wrist"][:, 0, 0].tolist() == [*others, 4, 5]
    assert given.trial == batch(6).trial
    assert torch.equal(given.video, batch(6).video)
    assert torch.equal(given.label, batch(6).label)


def test_series_of_the_wrong_trials_without_a_teacher(tmp_path: Path) -> None:
    """The value of the term is that of the other trials' series; the rest of the step is the method's."""
    values = {}
    for pairing in (None, "shuffled"):
        changes = {**WORLD, "student": {"pairing": pairing, "augment": {"shift": 0}}}
        context = context_for(RunRequest("series", "motionsim", preset="smoke", device="cpu", overrides=changes))
        recipe = context.run_spec.recipe
        assert recipe.controls == (("wrong_trials",) if pairing else ())
        training = student_training(context, recipe.student, [], tmp_path / str(pairing))
        training.begin()
        shown = next(iter(training.loader.batches(range(6), 6)))
        _, _, values[pairing], _ = training.forward(shown, 1, 0)
        if pairing is None:
            others = with_series_of_others(shown, training.pairing.seed_of("ablation", 1, 0))
            _, _, values["expected"], _ = training.forward(others, 1, 0)
    names = list(resolve("series", "smoke").student.losses)
    ce, series = names.index("ce"), names.index("series")
    assert values["shuffled"][ce] == values[None][ce]
    assert values["shuffled"][series] != values[None][series]
    torch.testing.assert_close(values["shuffled"], values["expected"])


def test_what_series_teach_alone_no_other_loss_moves(tmp_path: Path) -> None:
    """Cross-entropy reaches nothing before the stage, and series alone do; at test the network is the same."""
    moved = {}
    for alone in (True, False):
        changes = {**WORLD, "student": {"losses": {"series": {"stage": 1, "alone": alone}}}}
        context = context_for(RunRequest("series", "motionsim", preset="smoke", device="cpu", overrides=changes))
        recipe = context.run_spec.recipe
        training = student_training(context, recipe.student, [], tmp_path / str(alone))
        training.begin()
        assert training.network.shielded == (frozenset({1}) if alone else frozenset())
        shown = next(iter(training.loader.batches(range(6), 6)))
        _, _, values, _ = training.forward(shown, 1, 0)
        for name, value in zip(recipe.student.losses, values, strict=True):
            training.network.zero_grad()
            value.backward(retain_graph=True)
            with_gradient = {
                key for key, p in training.network.named_parameters() if p.grad is not None and p.grad.any()
            }
            moved[alone, name] = {part for part in with_gradient if part.startswith("encoders")}
    assert moved[True, "ce"] < moved[False, "ce"]
    assert moved[True, "series"] == moved[False, "series"]
    assert moved[True, "series"] & moved[True, "ce"] == set()
    assert moved[True, "series"] | moved[True, "ce"] == moved[False, "ce"]


def test_a_pairing_that_changes_nothing_is_refused() -> None:
    changes = {"student": {"pairing": "shuffled"}}
    with pytest.raises(UsageError, match="no teacher, and no loss that reads series"):
        refuse_idle(RunRequest("student_only", "motionsim", preset="smoke", overrides=changes))
    refuse_idle(RunRequest("series", "motionsim", preset="smoke", overrides=changes))


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_differs_from_its_method_in_nothing_else(name: str) -> None:
    method = "hinton_raw" if name.endswith("_raw") else "hinton"
    for preset in PRESETS:
        control, plain = (resolve(each, preset).model_dump(exclude={"name", "summary"}) for each in (name, method))
        if CONTROLS[name] == "random_teacher":
            assert control["teacher"].pop("weights") == "random"
            if preset == "paper":
                # Pretrained weights would know something.
                control["teacher"]["encoder"].pop("weights", None)
                plain["teacher"]["encoder"].pop("weights", None)
        else:
            assert control["student"].pop("pairing") == "shuffled"
        assert control == plain
        assert resolve(name, preset).controls == (CONTROLS[name],)
        assert resolve(method, preset).controls == ()


def test_the_teacher_of_the_wrong_trials_answers_for_other_trials(tmp_path: Path) -> None:
    changes = {**WORLD, "teacher": {"train": {"epochs": 8, "batch_size": 4}}}
    context = context_for(
        RunRequest("hinton_wrong_trials_raw", "motionsim", preset="smoke", device="cpu", overrides=changes)
    )
    recipe = context.run_spec.recipe
    assert recipe.student is not None
    teacher = of_parts(obtain_teachers(context, tmp_path / "teachers", fresh=False))
    training = student_training(context, recipe.student, teacher, tmp_path)
    assert training.teacher is not None
    assert training.teacher.networks[0].cached == "features"
    shown = next(iter(training.loader.batches(range(8), 8)))
    given, other = training.teacher(shown, seed=1)[0].logits, training.teacher(shown, seed=2)[0].logits
    with torch.no_grad():
        own = teacher[0].network(teacher[0].network.represent(shown))[0].logits
        paired = teacher[0].network(teacher[0].network.represent(mispaired(shown, 1)))[0].logits
    assert torch.allclose(given, paired, atol=1e-4)
    assert not torch.isclose(given, own, atol=1e-4).all(1).any()
    assert not torch.equal(given, other)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_the_random_teacher_is_the_initial_network_and_no_failure(runs: Path) -> None:
    done = tiny("hinton_random_teacher_raw", runs)
    record = read_json(runs / "teachers" / done.result["teacher"]["folder"] / "teacher.json")
    assert record["epochs"] == 0
    assert record["recipe"]["weights"] == "random"
    assert done.result["controls"] == ["random_teacher"]
    assert any("this is a control" in line for line in done.result["warnings"])
    assert done.result["teacher"]["accuracy"] < 0.6


@pytest.mark.slow
def test_a_control_stands_beside_its_method_under_equal_conditions(runs: Path) -> None:
    alone, plain, wrong = (tiny(name, runs) for name in ("student_only", "hinton_raw", "hinton_wrong_trials_raw"))
    assert plain.result["teacher"]["folder"] == wrong.result["teacher"]["folder"]
    assert alone.result["conditions"] == plain.result["conditions"] == wrong.result["conditions"]
    assert wrong.result["controls"] == ["wrong_trials"]
    assert "controls" not in plain.result
    assert wrong.result["gain"] is not None
    assert not (wrong.predictions().filter(like="logit") == plain.predictions().filter(like="logit")).all(axis=None)


@pytest.mark.parametrize("name", ["hinton_random_teacher_raw", "hinton_wrong_trials_raw"])
def test_the_check_knows_that_a_control_is_wanted(name: str) -> None:
    report = check("method", name)
    assert report.passed
    assert "this is a control" in report.result("needs_are_met").message


def test_a_control_that_sees_its_own_trials_is_caught() -> None:
    def honest(context, spec, teacher, folder):  # type: ignore[no-untyped-def]
        training = student_training(context, spec, teacher, folder)
        training.teacher.networks[0]._wrong_trials = False
        return training

    report = check("method", "hinton_wrong_trials_raw", make=honest)
    assert report.failed == ("teacher_sees_the_students_trials",)


@pytest.mark.parametrize(
    ("method", "changes", "words"),
    [
        ("hinton", {"teacher": {"pairing": "shuffled"}}, "student.pairing takes shuffled"),
        ("hinton", {"student": {"weights": "random"}}, "teacher.weights takes random"),
        ("hinton", {"teacher": {"weights": "random"}}, "needs teacher.encoder.weights = random"),
        ("teacher_only_raw", {"teacher": {"weights": "random"}}, "nothing to train"),
        ("hinton", {"student": {"pairing": "shufled"}}, "student.pairing"),
    ],
)
def test_half_a_control_is_refused(method: str, changes: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        resolve(method, "paper", changes)
