"""Features of 1e15 and 1e-15: value and gradient in float32 are those of float64 where float32 can hold them."""

from __future__ import annotations

import pytest
import torch

from kdbench.errors import UsageError
from kdbench.losses import BUILTIN
from kdbench.registry import registry
from kdbench.testing.loss_case import LossCase
from kdbench.testing.samples import CLIP, IMAGE, Sample, draw, tensors, with_series

BEYOND = {
    ("fsp", 1e15): "its true value is 4e61: it is of the fourth power of the features",
    ("cwd", 1e-15): "float32 probabilities of such maps are equal",
    ("diffkd", 1e-15): "beside a bias such maps are constant in float32, and a ReLU after BatchNorm is at its kink",
    **{
        (name, 1e-15): "float32 probabilities of such logits are equal"
        for name in ("ctkd", "dkd", "mlld", "ofa", "sdd", "st", "st_mix", "ttm", "wsld")
    },
    ("dmcl", 1e-15): "float32 probabilities of such logits are equal, and one of equal streams wins",
    ("pskd", 1e-15): "float32 probabilities of such logits are equal, and one of equal teachers is chosen",
    ("sgm", 1e-15): "float32 probabilities of such logits are equal, and so is the class of the highest",
}
"""What float32 cannot hold, in the value or on the way to it, and why."""
SMALLEST = 1e-30
"""Below this, products on the way leave the range of float32's normal numbers."""


def both(name: str, sample: Sample, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The value, and the gradient of each tensor that the loss sees."""
    case = LossCase(name, registry("loss").get(name))
    sample = sample.to(dtype)
    torch.manual_seed(0)
    value = case.value(case.build().to(dtype), sample)
    value.backward()
    gradients = {key: held.grad for key, held in tensors(sample.student).items() if held.grad is not None}
    return {"value": value.detach(), **gradients}


def sample_of(name: str) -> Sample:
    for grids in ((CLIP, IMAGE), (CLIP, CLIP)):
        sample = with_series(draw(grids=grids))
        try:
            both(name, sample, torch.float32)
        except UsageError:
            continue
        return sample
    raise AssertionError(f"no sample fits {name}")


@pytest.mark.parametrize("scale", [1e15, 1e-15])
@pytest.mark.parametrize("name", sorted(BUILTIN))
def test_float32_gives_what_float64_gives(name: str, scale: float) -> None:
    sample = sample_of(name).through(lambda tensor: tensor * scale)
    found, true = both(name, sample, torch.float32), both(name, sample, torch.float64)
    if (name, scale) in BEYOND:
        assert name == "fsp" or all(bool(each.isfinite().all()) for each in found.values())
        return
    torch.testing.assert_close(found["value"].double(), true["value"], rtol=1e-3, atol=SMALLEST)
    for key, gradient in true.items():
        largest = float(gradient.abs().max())
        torch.testing.assert_close(found[key].double(), gradient, rtol=0, atol=1e-2 * largest + SMALLEST, msg=key)


@pytest.mark.parametrize("name", ["at", "sp"])
def test_a_scale_that_a_loss_does_not_see_changes_no_bit(name: str) -> None:
    sample = sample_of(name)
    one, other = (both(name, sample.through(lambda tensor, by=by: tensor * by), torch.float32) for by in (2.0, 2.0**40))
    assert one["value"] == other["value"]
