"""Our losses and images against values recorded from other people's code: a test of each family, in parts a vector.

The vectors lie below $KDBENCH_GOLDENS; `golden_table` says which of our calls each is compared with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden_kit import Differs, Match
from golden_table import families, lookup
from torch import Tensor

from kdbench.errors import KdbenchError

COARSE_CASES = ("offset", "extreme", "heavytail")
TRIVIAL = 1e-12
IMAGE_TOLERANCE = {torch.float64: 1e-7, torch.float32: 5e-6}

Vector = Mapping[str, Any]


def _vectors() -> list[Vector]:
    folder = os.environ.get("KDBENCH_GOLDENS")
    return json.loads((Path(folder) / "index.json").read_text(encoding="utf-8"))["vectors"] if folder else []


@lru_cache(maxsize=8)
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as held:
        return {key: held[key] for key in held.files}


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(families()))
def test_golden(
    family: str, goldens_dir: Path, subtests: pytest.Subtests, record_property: pytest.RecordProperty
) -> None:
    vectors = [vector for vector in _vectors() if vector["family"] == family]
    assert vectors
    for vector in vectors:
        with subtests.test(vector["name"]):
            record_property("golden", _compared(vector, _arrays(goldens_dir / vector["file"])))


def _compared(vector: Vector, arrays: Mapping[str, np.ndarray]) -> str:
    """Holds ours to one vector; returns how they stand."""
    entry = lookup(vector)
    if vector.get("raises") or not vector["finite"]:
        _check_defined(entry, vector, arrays)
        return "differs"
    if "image" in vector["outputs"]:
        _check_image(entry, vector, arrays)
        return "matched"
    if isinstance(entry, Match):
        _check_match(entry, vector, arrays)
        return "matched"
    _check_differs(entry, vector, arrays)
    return "differs"


DEGENERATE: Mapping[str, Any] = {
    "zeros": torch.zeros_like,
    "ones": torch.ones_like,
    "equal rows": lambda x: x[:1].expand_as(x).clone(),
    "one sample": lambda x: x[:1],
    "one class": lambda x: x[:, :1] if x.dim() == 2 else x,
    "one position": lambda x: x[..., :1, :1] if x.dim() == 4 else x,
}


@pytest.mark.parametrize("alike", [False, True], ids=["two networks", "equal networks"])
@pytest.mark.parametrize("change", DEGENERATE)
def test_a_difference_holds_where_the_inputs_leave_little_of_it(change: str, alike: bool, goldens_dir: Path) -> None:
    """The table's own function of the reference is taken for the reference; each line once, on its smallest inputs."""
    held: dict[str, Vector] = {}
    for vector in _vectors():
        if not vector.get("raises") and vector["finite"] and isinstance(lookup(vector), Differs):
            held.setdefault(f"{vector['family']}/{vector['ref']}", vector)
    assert held
    for vector in held.values():
        entry, arrays = lookup(vector), _arrays(goldens_dir / vector["file"])
        given = {
            name: x if x.dim() < 2 else DEGENERATE[change](x.detach()) for name, x in _inputs(vector, arrays).items()
        }
        if alike:
            given |= {
                f"t{name[1:]}": x.clone() for name, x in given.items() if name[0] == "s" and f"t{name[1:]}" in given
            }
        if change == "one sample":
            given = {name: x[:1] for name, x in given.items()}
        assert isinstance(entry, Differs)
        try:
            ours, golden = entry.call(given).item(), entry.reference(given).item()
        except KdbenchError:
            continue
        assert np.isfinite(ours), vector["name"]
        if np.isfinite(golden):
            _check_difference(entry, given, ours, golden)


def test_every_golden_family_has_its_lines_in_the_table(goldens_dir: Path) -> None:
    assert {vector["family"] for vector in _vectors()} == families()


def _inputs(vector: Vector, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    inputs = {name: torch.from_numpy(arrays[f"in.{name}"].copy()) for name in vector["inputs"]}
    for name in vector.get("student_inputs", ()):
        inputs[name].requires_grad_()
    return inputs


def _check_defined(entry: Match | Differs, vector: Vector, arrays: Mapping[str, np.ndarray]) -> None:
    """Where the reference fails or has no finite value, ours is an error of kdbench's or finite, with its gradient."""
    inputs = _inputs(vector, arrays)
    try:
        value = entry.call(inputs)
    except KdbenchError:
        return
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in _gradients(value, vector, inputs).values())


def _check_image(entry: Match | Differs, vector: Vector, arrays: Mapping[str, np.ndarray]) -> None:
    golden = torch.from_numpy(arrays[vector["outputs"]["image"]])
    series = _inputs(vector, arrays)["x"][:, vector.get("axes", slice(None))]
    for dtype, tolerance in IMAGE_TOLERANCE.items():
        image = entry.call({"x": series.to(dtype)})
        assert image.dtype == dtype
        assert image.shape == golden.shape
        assert (image.double() - golden).abs().max() <= tolerance


def _check_match(entry: Match, vector: Vector, arrays: Mapping[str, np.ndarray]) -> None:
    inputs = _inputs(vector, arrays)
    _check_value_and_gradient(entry.call(inputs), inputs, vector, arrays)
    for name, part in entry.parts.items():
        if name in vector["outputs"]:
            golden = torch.from_numpy(np.atleast_1d(arrays[vector["outputs"][name]]))
            torch.testing.assert_close(part(inputs).detach(), golden, rtol=_rtol(vector, 1e-9), atol=1e-12)


def _check_differs(entry: Differs, vector: Vector, arrays: Mapping[str, np.ndarray]) -> None:
    """The reference is the function that the table says, and ours is another."""
    inputs = _inputs(vector, arrays)
    _check_value_and_gradient(entry.reference(inputs), inputs, vector, arrays)
    ours = entry.call(inputs)
    assert ours.isfinite()
    assert all(gradient.isfinite().all() for gradient in _gradients(ours, vector, inputs).values())
    _check_difference(entry, inputs, ours.item(), _golden(vector, arrays))


def _check_difference(entry: Differs, inputs: Mapping[str, Tensor], ours: float, golden: float) -> None:
    same = abs(ours - golden) <= 1e-12 * abs(golden)
    if entry.same_when({name: tensor.detach() for name, tensor in inputs.items()}):
        assert abs(ours - golden) <= 1e-6 * abs(golden) + 1e-12
    elif abs(ours) > TRIVIAL or abs(golden) > TRIVIAL:
        # Where nothing is lost, as between maps of zeros, two functions may well agree on it.
        assert not same, f"the value agrees, although {entry.why}"


def _golden(vector: Vector, arrays: Mapping[str, np.ndarray]) -> float:
    return float(arrays[vector["outputs"]["loss"]])


def _check_value_and_gradient(
    value: Tensor, inputs: Mapping[str, Tensor], vector: Vector, arrays: Mapping[str, np.ndarray]
) -> None:
    golden = _golden(vector, arrays)
    assert value.dtype == torch.float64
    assert abs(value.item() - golden) <= _rtol(vector, 1e-9) * abs(golden) + 1e-12
    for name, gradient in _gradients(value, vector, inputs).items():
        assert gradient.isfinite().all()
        if not vector.get("grad_degenerate"):
            expected = torch.from_numpy(arrays[vector["grads"][name]])
            error = (gradient - expected).abs().max()
            assert error <= _rtol(vector, 1e-7) * expected.abs().max() + 1e-12, f"gradient of {name}"


def _gradients(value: Tensor, vector: Vector, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = list(vector.get("student_inputs") or ())
    return dict(zip(names, torch.autograd.grad(value, [inputs[name] for name in names]), strict=True)) if names else {}


def _rtol(vector: Vector, regular: float) -> float:
    return 1e-6 if vector["case"].startswith(COARSE_CASES) else regular
