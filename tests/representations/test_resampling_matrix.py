"""Resampling as a matrix, which exported programs hold, is torch's interpolation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from kdbench.representations.length import resampling


@pytest.mark.parametrize(("n", "size"), [(180, 64), (64, 180), (7, 6), (5, 1)])
def test_it_is_torchs_antialiased_interpolation(n: int, size: int) -> None:
    series = torch.randn(3, 2, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = F.interpolate(series[:, :, None], size=(1, size), mode="bilinear", antialias=True)[:, :, 0]
    torch.testing.assert_close(series @ resampling(n, size, series), expected, atol=1e-12, rtol=0)
