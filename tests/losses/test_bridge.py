"""torchdistill's losses: equal to a direct call of the library, safe in the loop, and refused where they mislead."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from loss_cases import CLASSES, CLIP, IMAGE, SERIES, batch_of, changed, features, tensors
from sweep import swept
from torch import Tensor

from kdbench.engine.objective import Objective, declared_needs
from kdbench.errors import UsageError
from kdbench.losses.bridged import ENTRIES, REFUSED
from kdbench.recipes.terms import LossTerm
from kdbench.types import Context, Features, Widths

CHANNELS = (4, 6, 8, 10)
OUT = {"student_module_path": "x", "student_module_io": "output", "teacher_module_path": "x"}
ONE = {**OUT, "teacher_module_io": "output"}
MAPS = {"student_output_path": "x", "teacher_output_path": "x"}


def place(number: int) -> dict[str, str]:
    return {"path": f"stage{number}", "io": "output"}


def pairs(*stages: int) -> dict[str, Any]:
    return {f"p{number}": {"student": place(number), "teacher": place(number)} for number in stages}


def steps(*stages: int) -> dict[str, Any]:
    ends = {
        (first, second): {"student_first": first, "student_second": second, "teacher_first": first}
        | {"teacher_second": second}
        for first, second in itertools.pairwise(stages)
    }
    return {str(pair): {key: place(number) for key, number in held.items()} for pair, held in ends.items()}


def both(field: str) -> dict[str, str]:
    places = {"feature_module": field, ("logit_module" if field == "stage3" else "linear_module"): "x"}
    return {
        f"{owner}_{name}_{what}": path if what == "path" else "output"
        for owner in ("student", "teacher")
        for name, path in places.items()
        for what in ("path", "io")
    }


KD = {"temperature": 4.0, "alpha": 0.3}
RKD = {"dist_factor": 25.0, "angle_factor": 50.0, "reduction": "mean"}
GAUSS = {"kernel_config": {"type": "gaussian", "gamma": 0.1, "max_p": 2}, "reduction": "batchmean"}
BILINEAR = {"kernel_config": {"type": "bilinear"}, "reduction": "batchmean"}
# Name, what a recipe sets, what the library is told besides, and which field stands under the path "x".
CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("KDLoss", KD, ONE, "logits"),
    ("KDLoss", {**KD, "beta": 2.0, "reduction": "batchmean"}, ONE, "logits"),
    ("KDLoss", {"temperature": 4.0, "accept": "no_t2"}, {**ONE, "beta": 1.0}, "logits"),
    ("LogitStdKDLoss", KD, ONE, "logits"),
    ("LogitStdKDLoss", {"temperature": 2.0, "accept": ["no_t2"]}, {**ONE, "beta": 1.0}, "logits"),
    ("DISTLoss", {"tau": 4.0, "beta": 2.0}, ONE, "logits"),
    ("SKDInstanceLoss", {"mode": "code"}, ONE, "logits"),
    ("SKDDirectionLoss", {"mode": "paper"}, ONE, "logits"),
    ("PKTLoss", {}, ONE, "embedding"),
    ("PKTLoss", {"eps": 1e-3}, ONE, "embedding"),
    ("RKDLoss", RKD, MAPS, "embedding"),
    ("CCKDLoss", GAUSS, {"student_linear_path": "x", "teacher_linear_path": "x"}, "embedding"),
    ("CCKDLoss", BILINEAR, {"student_linear_path": "x", "teacher_linear_path": "x"}, "embedding"),
    ("SPKDLoss", {"reduction": "batchmean", "accept": "l1_norm"}, MAPS, "stage3"),
    ("SPKDLoss", {"reduction": "batchmean", "accept": "l1_norm", "stage": 1}, MAPS, "stage1"),
    ("ATLoss", {"mode": "paper"}, {"at_pairs": pairs(0, 1, 2, 3)}, "logits"),
    ("ATLoss", {"stages": [0, 2]}, {"at_pairs": pairs(0, 2)}, "logits"),
    ("FSPLoss", {}, {"fsp_pairs": steps(0, 1, 2, 3)}, "logits"),
    ("FSPLoss", {"stages": [1, 3]}, {"fsp_pairs": steps(1, 3)}, "logits"),
    ("AltActTransferLoss", {"margin": 1.0, "reduction": "mean"}, {"feature_pairs": pairs(0, 1, 2, 3)}, "logits"),
    ("ChSimLoss", {}, {"feature_pairs": pairs(0, 1, 2, 3)}, "logits"),
    ("FTLoss", {"p": 1}, {"paraphraser_path": "x", "translator_path": "x"}, "stage3"),
    ("KTALoss", {"stage": 2}, {"knowledge_translator_path": "x", "feature_adapter_path": "x"}, "stage2"),
    ("AffinityLoss", {"stage": 1}, {"student_module_path": "x", "teacher_module_path": "x"}, "stage1"),
    ("HierarchicalContextLoss", {"stage": 0}, ONE, "stage0"),
    ("SRDLoss", {"exponent": 4.0}, both("embedding"), "logits"),
    ("DISTPlusLoss", {"iota": 0.0, "tau": 2.0}, both("stage3"), "logits"),
    ("DISTPlusLoss", {"accept": "channel_sign"}, both("stage3"), "logits"),
]
PARAMS = {name: params for name, params, _, _ in CASES}


def field_of(given: Features, name: str) -> Tensor:
    return given.stages[int(name[-1])] if name.startswith("stage") else getattr(given, name)


def outputs(given: Features, x: str, *, tupled: bool = False) -> dict[str, dict[str, Any]]:
    named = {name: field_of(given, name) for name in ("embedding", "stage0", "stage1", "stage2", "stage3")}
    main = field_of(given, x)
    return {"x": {"output": (main, None) if tupled else main}} | {key: {"output": t} for key, t in named.items()}


def bridged(
    name: str, params: dict[str, Any], *, student: tuple[int, ...] = CHANNELS, teacher: tuple[int, ...] = CHANNELS
) -> Objective:
    torch.manual_seed(0)
    context = Context(
        CLASSES, Widths(CLASSES, student, student[-1]), (Widths(CLASSES, teacher, teacher[-1]),), train_size=20
    )
    term = LossTerm.model_validate({"weight": 1.0, **params})
    return Objective({f"torchdistill:{name}": term}, context, owner="student")


def test_every_bridged_loss_is_compared_with_the_library() -> None:
    from torchdistill.losses import mid_level

    assert {name for name, *_ in CASES} == set(ENTRIES)
    held = {name for name, thing in vars(mid_level).items() if getattr(thing, "__module__", "") == mid_level.__name__}
    assert set(ENTRIES) | set(REFUSED) == {name for name in held if name[0].isupper()}


@pytest.mark.parametrize(("name", "params", "told", "x"), CASES)
def test_value_and_gradient_are_those_of_a_direct_call(
    name: str, params: dict[str, Any], told: dict[str, Any], x: str
) -> None:
    from torchdistill.losses import mid_level

    student, teacher = (features(grids=IMAGE, channels=CHANNELS, seed=seed, dtype=torch.float64) for seed in (0, 1))
    twin = changed(student, lambda t: t.detach().clone().requires_grad_())
    own = {key: value for key, value in params.items() if key not in {"accept", "stage", "stages"}}
    library = getattr(mid_level, name)(**told, **own)
    tupled = name == "HierarchicalContextLoss"
    alike = changed(teacher, Tensor.detach)
    expected = library(outputs(twin, x, tupled=tupled), outputs(alike, x), batch_of().label)
    expected.backward()
    (term,) = bridged(name, params).terms.children()
    value = term([student], [teacher], batch_of())
    value.backward()
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(tensors(student), tensors(twin), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    assert any(tensor.grad is not None and tensor.grad.abs().sum() > 0 for tensor in tensors(student))
    assert all(tensor.grad is None for tensor in tensors(teacher))


@swept("samples", [1, 5])
@swept("grids", [CLIP, IMAGE, SERIES])
@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_unlike_networks_and_a_batch_of_one_are_finite(name: str, grids: Any, samples: int) -> None:
    student = features(samples, grids=grids)
    teacher = features(samples, grids=IMAGE, channels=(4, 5, 8, 7), seed=1)
    objective = bridged(name, PARAMS[name], teacher=(4, 5, 8, 7))
    before = [tensor.detach().clone() for tensor in (*tensors(student), *tensors(teacher))]
    state = torch.get_rng_state()
    total, _ = objective([student], [teacher], batch_of(samples))
    total.backward()
    assert total.isfinite()
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in tensors(student))
    assert all(map(torch.equal, before, (*tensors(student), *tensors(teacher))))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_half_precision_is_computed_in_float32(name: str) -> None:
    student, teacher = (
        changed(features(grids=IMAGE, channels=CHANNELS, seed=seed), lambda t: t.detach().bfloat16()) for seed in (0, 1)
    )
    objective = bridged(name, PARAMS[name])
    exact, _ = objective([changed(student, Tensor.float)], [changed(teacher, Tensor.float)], batch_of())
    with torch.autocast("cpu", torch.bfloat16):
        value, _ = objective([student], [teacher], batch_of())
    torch.testing.assert_close(value, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.compiles))
def test_what_is_declared_to_compile_does(name: str) -> None:
    torch.compiler.reset()
    student, teacher = (features(grids=IMAGE, channels=CHANNELS, seed=seed) for seed in (0, 1))
    (term,) = bridged(name, PARAMS[name]).terms.children()
    on = ENTRIES[name].on
    given = [each if on is None else getattr(each, on) for each in (student, teacher)]
    run = torch.compile(term.losses[0], backend="eager", fullgraph=True)
    torch.testing.assert_close(run(*given, batch_of()), term.losses[0](*given, batch_of()))


@pytest.mark.parametrize("name", ["SRDLoss", "FTLoss", "DISTPlusLoss"])
def test_where_widths_differ_a_linear_is_learnt_on_the_students_side(name: str) -> None:
    objective = bridged(name, PARAMS[name], teacher=(4, 5, 8, 7))
    student = features(grids=IMAGE)
    objective([student], [features(grids=IMAGE, channels=(4, 5, 8, 7), seed=1)], batch_of())[0].backward()
    learnt = [p for p in objective.parameters() if p.grad is not None]
    assert any(p.shape == (7, 10) for p in learnt)


@pytest.mark.parametrize(
    ("name", "params", "said"),
    [
        ("SPKDLoss", {"reduction": "batchmean"}, ["L1 norm", "Use the published loss: sp", "accept=l1_norm"]),
        ("KDLoss", {"temperature": 4.0}, ["leaves out the factor T^2", "use st", "accept=no_t2"]),
        ("KDLoss", {"temperature": 4.0, "alpha": 0}, ["leaves out the factor T^2"]),
        ("LogitStdKDLoss", {"temperature": 4.0}, ["leaves out the factor T^2", "standardize: true"]),
        ("DISTPlusLoss", {}, ["correlation of the channels", "Set iota: 0", "accept=channel_sign"]),
        ("SPKDLoss", {"accept": "l2_norm", "reduction": "sum"}, ["has no deviation", "did you mean 'l1_norm'"]),
        ("PKTLoss", {"accept": "l1_norm"}, ["student.losses.torchdistill:PKTLoss has no parameter 'accept'"]),
        ("PKTLoss", {"epps": 1e-7}, ["did you mean 'eps'", "kdbench describe torchdistill:PKTLoss"]),
        ("PKTLoss", {"student_module_path": "fc"}, ["has no parameter 'student_module_path'"]),
        ("KDLoss", {"alpha": 0.5}, ["needs temperature, which has no default"]),
        ("RKDLoss", {"dist_factor": 1.0}, ["needs angle_factor and reduction"]),
        ("ATLoss", {"mode": "codes"}, ["torchdistill:ATLoss refuses", "mode `codes` is not expected"]),
        ("CCKDLoss", {"kernel_config": {"type": "gaussian"}, "reduction": "sum"}, ["refuses", "KeyError: 'gamma'"]),
        ("FSPLoss", {"stages": [-1]}, ["name at least two"]),
        ("ATLoss", {"stages": [4]}, ["stage 4 is asked for"]),
    ],
)
def test_what_misleads_or_does_not_exist_is_refused(name: str, params: dict[str, Any], said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        bridged(name, params)
    for text in said:
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [("CRDLoss", "Use kdbench's: crd"), ("VIDLoss", "Use kdbench's: vid"), ("SSKDLoss", "four views of each sample")],
)
def test_what_needs_more_than_features_is_refused_with_what_to_use(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"torchdistill:{name} cannot be bridged") as caught:
        declared_needs([f"torchdistill:{name}"])
    assert said in str(caught.value)


def test_a_misspelt_name_is_answered() -> None:
    with pytest.raises(UsageError, match="did you mean 'PKTLoss'"):
        declared_needs(["torchdistill:PKTLos"])
