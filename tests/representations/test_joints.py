from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from kdbench.errors import UsageError
from kdbench.representations.joints import Joints
from kdbench.types import JointGraph

STATISTICS = ((0.5,), (0.5,))
ARM = JointGraph(("hand", "hip", "elbow"), ((1, 2), (2, 0)))
"""The hip is the root; the order of the joints is not that of the bones."""
HAND, HIP, ELBOW = ((5.0, 2.0, 1.0), (6.0, 2.0, 1.0)), ((1.0, 0.0, 0.0), (1.0, 1.0, 0.0)), ((3.0, 1.0, 0.0),) * 2
"""x, y, z in two samples."""


def joints(skeleton: JointGraph = ARM, **params: Any) -> Joints:
    return Joints(3 * len(skeleton.joints), statistics=STATISTICS, skeleton=skeleton, **params)


def moving() -> Tensor:
    """A trial `(1, 9, 2)`."""
    return torch.tensor([HAND, HIP, ELBOW]).transpose(1, 2).reshape(1, 9, 2)


def streams(made: Joints, x: Tensor) -> Tensor:
    """What an unfitted representation makes, `(k, joint, sample, axis)`."""
    return made(x)[0].unflatten(0, (made.streams, 3, 3)).transpose(2, 3)


def test_positions_alone_stay_as_they_are_until_it_is_fitted():
    made = joints()
    assert made.out_channels == 9
    assert torch.equal(made(moving()), moving())


def test_a_bone_leads_from_the_parent_to_the_child_and_the_root_has_none():
    made = joints(bones=True)
    assert made.out_channels == 18
    positions, bones = streams(made, moving())
    assert torch.equal(positions, torch.tensor([HAND, HIP, ELBOW]))
    hand, hip, elbow = ((2, 1, 1), (3, 1, 1)), ((0, 0, 0), (0, 0, 0)), ((2, 1, 0), (2, 0, 0))
    assert torch.equal(bones, torch.tensor([hand, hip, elbow]).float())


def test_velocities_are_those_of_every_stream_and_end_at_rest():
    made = joints(bones=True, velocities=True)
    assert made.out_channels == 36
    of_positions, of_bones = streams(made, moving())[2:]
    rest = (0, 0, 0)
    assert torch.equal(of_positions, torch.tensor([((1, 0, 0), rest), ((0, 1, 0), rest), (rest, rest)]).float())
    assert torch.equal(of_bones, torch.tensor([((1, 0, 0), rest), (rest, rest), ((0, -1, 0), rest)]).float())


def test_each_axis_of_a_stream_is_standardised_with_all_joints_together():
    made = joints(JointGraph(("a", "b"), ()))
    x = torch.tensor([[1.0, 3.0], [10.0, 10.0], [0.0, 0.0], [5.0, 7.0], [10.0, 10.0], [4.0, 0.0]])[None]
    made.fit(x)
    assert torch.allclose(made.mean, torch.tensor([4.0, 10.0, 1.0]))
    # x holds 1, 3, 5, 7: variance 5. y is constant: it becomes zero. z holds 0, 0, 4, 0: variance 3.
    out = made(x)[0].unflatten(0, (2, 3))
    torch.testing.assert_close(out[:, 0], torch.tensor([[-3.0, -1.0], [1.0, 3.0]]) / 5**0.5)
    assert torch.equal(out[:, 1], torch.zeros(2, 2))
    torch.testing.assert_close(out[:, 2], torch.tensor([[-1.0, -1.0], [3.0, -1.0]]) / 3**0.5)


def test_velocities_are_those_of_the_resampled_positions():
    made = joints(velocities=True, samples=3)
    x = torch.arange(6.0).expand(1, 9, 6)
    positions, velocities = streams(made, x)
    steps = positions.diff(dim=1)
    assert positions.shape == (3, 3, 3)
    assert torch.equal(velocities[:, :-1], steps)
    assert (steps > 1).all()
    assert torch.equal(velocities[:, -1], torch.zeros(3, 3))


def test_a_constant_axis_becomes_zero_when_resampled_too():
    x = torch.full((4, 9, 50), 0.1)
    made = joints(bones=True, velocities=True, samples=7)
    made.fit(x)
    torch.testing.assert_close(made(x), torch.zeros(4, 36, 7), atol=1e-6, rtol=0)


def test_what_was_learnt_is_saved():
    fitted, loaded = joints(bones=True, velocities=True), joints(bones=True, velocities=True)
    x = torch.randn(6, 9, 20)
    fitted.fit(x)
    loaded.load_state_dict(fitted.state_dict())
    assert torch.equal(loaded(x), fitted(x))


def test_another_source_bones_without_any_and_too_few_samples_are_refused():
    with pytest.raises(UsageError, match="'joints' is for the joints of a skeleton") as caught:
        Joints(3, statistics=STATISTICS)
    assert "kdbench list representations" in str(caught.value.hint)
    with pytest.raises(UsageError, match="the data set's card names no bones"):
        joints(JointGraph(("a", "b"), ()), bones=True)
    with pytest.raises(UsageError, match="samples = 1, expected at least 2"):
        joints(samples=1)
