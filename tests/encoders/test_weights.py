from __future__ import annotations

import hashlib
import time

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdbench.encoders import weights
from kdbench.errors import UsageError


def model() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 2), nn.Linear(4, 5))


def test_the_provenance_holds_the_files_hash(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.ones(2)}, path)
    assert weights.provenance(path) == f"a.safetensors sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("1.bias"), "1.bias is missing"),
        (lambda state: state.update(more=torch.ones(1)), "more is unknown"),
        (lambda state: state.update({"1.bias": torch.ones(7)}), r"1.bias is \(7,\), expected \(5,\)"),
    ],
)
def test_weights_that_do_not_fit_say_where(change, message):
    state = model().state_dict()
    change(state)
    with pytest.raises(UsageError, match=message):
        weights.load(model(), state, origin="FILE", input_weight="0.weight")


def test_what_is_missing_is_named():
    with pytest.raises(UsageError, match=r"FILE does not fit .* 1\.bias is missing"):
        weights.load(model(), {"0.weight": torch.ones(4, 3, 2, 2)}, origin="FILE", input_weight="0.weight")


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_fitted_kernel_answers_equal_channels_alike(channels):
    weight = torch.randn(4, 3, 2, 2)
    fitted = weights.fit_input_channels(weight, channels)
    assert fitted.shape == (4, channels, 2, 2)
    torch.testing.assert_close(fitted.sum(1), weight.sum(1))


def test_a_host_that_does_not_answer_is_found_out_quickly():
    start = time.perf_counter()
    assert not weights.reachable("https://host.invalid/file")
    assert not weights.reachable("not an address")
    assert time.perf_counter() - start < weights.REACH_SECONDS + 5


class Windowed(nn.Module):
    """Weights, running statistics and buffers that follow from its size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(3, 4, 2), nn.BatchNorm2d(4), nn.Linear(4, 5)
        self.register_buffer("relative_position_index", torch.arange(9).view(3, 3))
        self.register_buffer("relative_coords_table", torch.linspace(-1, 1, 9))


@pytest.mark.parametrize("left_out", ["norm.num_batches_tracked", "relative_position_index", "relative_coords_table"])
def test_buffers_that_follow_from_the_model_may_be_left_out_and_stay_its_own(left_out):
    held, other = Windowed(), Windowed()
    state = held.state_dict()
    del state[left_out]
    expected = other.state_dict()[left_out].clone()
    weights.load(other, state, origin="FILE", input_weight="conv.weight")
    assert torch.equal(other.state_dict()[left_out], expected)
    assert torch.equal(other.out.weight, held.out.weight)


def test_buffers_that_the_model_does_not_keep_or_keeps_in_another_size_are_left_out():
    state = Windowed().state_dict()
    state["layers.0.attn.relative_position_index"] = torch.arange(4)
    state["relative_position_index"] = torch.arange(49).view(7, 7)
    other = Windowed()
    weights.load(other, state, origin="FILE", input_weight="conv.weight")
    assert torch.equal(other.relative_position_index, torch.arange(9).view(3, 3))


def test_running_statistics_are_no_such_buffers():
    state = Windowed().state_dict()
    del state["norm.running_mean"]
    with pytest.raises(UsageError, match=r"norm\.running_mean is missing"):
        weights.load(Windowed(), state, origin="FILE", input_weight="conv.weight")


def test_a_head_for_other_classes_is_left_out():
    state = Windowed().state_dict() | {"fc.weight": torch.ones(27, 5), "fc.bias": torch.ones(27)}
    weights.load(Windowed(), state, origin="FILE", input_weight="conv.weight", head=("head", "fc"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.full((5,), float("nan")), "1.bias holds values that are not finite"),
        (torch.ones(5, dtype=torch.int64), "1.bias is int64, expected floating-point numbers"),
        (torch.ones(5).to_sparse(), "1.bias is float32, expected floating-point numbers"),
    ],
)
def test_values_that_are_no_weights_are_refused(value, said):
    with pytest.raises(UsageError, match=said):
        weights.load(model(), model().state_dict() | {"1.bias": value}, origin="FILE", input_weight="0.weight")


def test_weights_of_another_network_are_told_apart_from_a_name_that_lacks():
    with pytest.raises(UsageError, match=r"FILE is not of this encoder: .* the first is 'blocks\.0\.w'.*'0\.weight'"):
        weights.load(model(), {"blocks.0.w": torch.ones(1)}, origin="FILE", input_weight="0.weight")
