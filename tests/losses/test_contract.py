"""What every built-in loss promises to the training loop."""

from __future__ import annotations

import pytest
import torch
from loss_cases import TEACHER_CHANNELS, batch_of, built, changed, features, learns, teacher_features, tensors
from sweep import swept
from torch.profiler import ProfilerActivity, profile

from kdbench.losses import BUILTIN
from kdbench.registry import part_of, registry

ALL = sorted(BUILTIN)
DISTILLING = [name for name in ALL if part_of(registry("loss").get(name)).declares["teacher"]]
COMPILING = [name for name in ALL if part_of(registry("loss").get(name)).declares["compiles"]]
# A contrast and a cross-entropy have no zero, nor has a teacher at another temperature, the label is followed where no
# teacher knows it, and a margin lies beyond the teacher.
MATCHING = [name for name in DISTILLING if name not in {"ab", "comodo", "condrk", "dmcl", "nkd", "pskd", "ttm", "wsld"}]


@pytest.mark.parametrize("name", ALL)
def test_the_gradient_reaches_the_student_and_never_the_teacher(name: str) -> None:
    student, teacher = features(), teacher_features()
    value = built(name)(student, teacher, batch_of())
    value.backward()
    assert value.shape == ()
    reached = [tensor.grad for tensor in tensors(student) if tensor.grad is not None]
    assert all(gradient.isfinite().all() for gradient in reached)
    assert sum(gradient.abs().sum() for gradient in reached) > 0
    assert all(tensor.grad is None for tensor in tensors(teacher))
    assert student.ablated_logits is not None
    assert student.ablated_logits.grad is None


@pytest.mark.parametrize("name", ALL)
def test_a_batch_of_one_is_finite(name: str) -> None:
    student = features(1)
    value = built(name)(student, teacher_features(1), batch_of(1))
    value.backward()
    assert value.isfinite()
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in tensors(student))


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_the_batch_has_no_effect(name: str) -> None:
    student, teacher, batch = features(), teacher_features(), batch_of()
    order = torch.tensor([3, 0, 4, 1, 2])
    value = built(name)(student, teacher, batch)
    shuffled = built(name)(
        changed(student, lambda t: t[order]),
        changed(teacher, lambda t: t[order]),
        batch.rows(order, order.tolist()),
    )
    torch.testing.assert_close(shuffled, value)


@pytest.mark.parametrize("name", ALL)
def test_half_precision_is_computed_in_float32(name: str) -> None:
    student, teacher = (changed(given, lambda t: t.detach().bfloat16()) for given in (features(), teacher_features()))
    exact = built(name)(changed(student, lambda t: t.float()), changed(teacher, lambda t: t.float()), batch_of())
    student = changed(student, lambda t: t.requires_grad_())
    with torch.autocast("cpu", torch.bfloat16):
        value = built(name)(student, teacher, batch_of())
    value.backward()
    assert value.dtype == torch.float32
    # What a loss learns, its linears, is the one part that autocast may take down.
    torch.testing.assert_close(value, exact, rtol=2e-2 if learns(name) else 1e-5, atol=1e-6)
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in tensors(student))


@pytest.mark.parametrize("name", COMPILING)
def test_it_compiles_as_one_graph_and_so_never_waits_for_the_device(name: str) -> None:
    torch.compiler.reset()
    student, teacher, batch = features(), teacher_features(), batch_of()
    value = torch.compile(built(name), backend="eager", fullgraph=True)(student, teacher, batch)
    torch.testing.assert_close(value, built(name)(student, teacher, batch))
    value.backward()
    assert any(tensor.grad is not None for tensor in tensors(student))


@swept("scale", [0.0, 1e-20, 1e4, 1e8])
@pytest.mark.parametrize("name", ALL)
def test_any_scale_of_the_features_is_finite(name: str, scale: float) -> None:
    student = features(scale=scale)
    value = built(name)(student, teacher_features(scale=scale), batch_of())
    value.backward()
    assert value.isfinite()
    assert all(tensor.grad is None or tensor.grad.isfinite().all() for tensor in tensors(student))


@pytest.mark.parametrize("name", [name for name in MATCHING if not learns(name, student=TEACHER_CHANNELS)])
def test_equal_networks_lose_nothing(name: str) -> None:
    student = features(channels=TEACHER_CHANNELS)
    twin = changed(student, lambda t: t.detach().clone())
    loss = built(name, student=TEACHER_CHANNELS)
    assert loss(student, twin, batch_of()).abs() < 1e-6
    assert loss(student, teacher_features(), batch_of()) > 1e-6


@pytest.mark.parametrize("name", ALL)
def test_no_loss_builds_a_matrix_of_positions_for_every_sample(name: str) -> None:
    grids = ((64, 64),) * 4
    student, teacher, batch, loss = features(grids=grids), teacher_features(grids=grids), batch_of(), built(name)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        loss(student, teacher, batch).backward()
    largest = max((event.cpu_memory_usage for event in record.events()), default=0)
    # The student's maps and their gradients lie far below this, a (B, N, N) of the float32 positions above it.
    assert largest < batch.label.numel() * (64 * 64) ** 2 * 4


# What ctkd learns works against the student; what diffkd draws anew in every step moves its value more than a step, and
# its own test lets it draw the same.
@pytest.mark.parametrize("name", [name for name in DISTILLING if learns(name) and name not in ("ctkd", "diffkd")])
def test_what_a_loss_learns_lowers_it_without_the_student(name: str) -> None:
    student, teacher, batch, loss = features(), teacher_features(), batch_of(), built(name)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-3)
    values = []
    for _ in range(20):
        optimizer.zero_grad()
        values.append(loss(student, teacher, batch))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < values[0]


@pytest.mark.parametrize("name", ALL)
def test_it_is_deterministic_and_draws_from_no_global_generator(name: str) -> None:
    student, teacher, batch, twins = features(), teacher_features(), batch_of(), (built(name), built(name))
    values = []
    for seed, loss in enumerate(twins):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        loss(student, teacher, batch)
        values.append(loss(student, teacher, batch))
        assert torch.get_rng_state().equal(state)
    assert values[0].equal(values[1])
    states = [loss.state_dict() for loss in twins]
    assert all(states[0][key].equal(value) for key, value in states[1].items())


@pytest.mark.parametrize("name", ALL)
def test_its_state_goes_on_where_it_was(name: str) -> None:
    student, teacher, batch, loss, resumed = features(), teacher_features(), batch_of(), built(name), built(name)
    loss(student, teacher, batch)
    resumed.load_state_dict({key: value.clone() for key, value in loss.state_dict().items()})
    later = batch.replace(index=batch.index + 5, label=batch.label.flip(0))
    assert resumed(student, teacher, later).equal(loss(student, teacher, later))


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_a_gpu_is_never_waited_for_and_gives_the_value_of_the_cpu(name: str, autocast: bool) -> None:
    student, teacher, batch = features(), teacher_features(), batch_of()
    expected = built(name)(student, teacher, batch)
    student, teacher = (changed(given, lambda t: t.detach().cuda().requires_grad_()) for given in (student, teacher))
    batch = batch.replace(label=batch.label.cuda(), index=batch.index.cuda())
    loss = built(name, device="cuda")
    loss(student, teacher, batch).backward()
    torch.cuda.set_sync_debug_mode("error" if name in COMPILING else "default")
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            value = loss(student, teacher, batch)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(value.cpu(), expected, rtol=2e-2 if learns(name) else 1e-4, atol=1e-5)
