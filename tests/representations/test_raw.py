from __future__ import annotations

import torch

from kdbench.representations.raw import Raw

STATISTICS = ((0.5,), (0.5,))


def test_standardises_each_axis_by_the_training_part():
    values = (
        torch.randn(40, 3, 25) * torch.tensor([1.0, 10.0, 1000.0])[:, None] + torch.tensor([0.0, -5.0, 1e4])[:, None]
    )
    representation = Raw(3, statistics=STATISTICS)
    representation.fit(values)
    out = representation(values)
    torch.testing.assert_close(out.mean((0, 2)), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(out.std((0, 2), correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_a_constant_axis_becomes_zero():
    values = torch.full((4, 2, 10), 0.1)
    representation = Raw(2, statistics=STATISTICS)
    representation.fit(values)
    torch.testing.assert_close(representation(values), torch.zeros(4, 2, 10), atol=1e-6, rtol=0)


def test_what_was_learnt_is_saved():
    fitted = Raw(3, statistics=STATISTICS)
    fitted.fit(3 + 2 * torch.randn(10, 3, 20))
    loaded = Raw(3, statistics=STATISTICS)
    loaded.load_state_dict(fitted.state_dict())
    x = torch.randn(2, 3, 20)
    assert torch.equal(loaded(x), fitted(x))
    assert not torch.equal(fitted(x), x)
