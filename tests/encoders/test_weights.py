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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*absent\.safetensors"):
        weights.read(tmp_path / "absent.safetensors")


def test_a_pickled_file_is_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(model().state_dict(), path)
    with pytest.raises(UsageError, match="cannot be read as safetensors"):
        weights.read(path)


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


def test_many_misfits_are_counted():
    with pytest.raises(UsageError, match=r"FILE does not fit .* and 1 more"):
        weights.load(model(), {}, origin="FILE", input_weight="0.weight")


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
