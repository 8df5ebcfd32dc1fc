"""Series of samples over time, shown at other speeds, and series of joints, turned."""

from __future__ import annotations

import torch
from torch import Tensor

AXES_OF_A_JOINT = 3


def turned(x: Tensor, angle: Tensor) -> Tensor:
    """Turns joints `(B, 3 J, n)` about the second axis of each by angles `(B, 1, 1)` in radians."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    across, up, along = x.unflatten(1, (-1, AXES_OF_A_JOINT)).unbind(2)
    return torch.stack([cos * across + sin * along, up, cos * along - sin * across], 2).flatten(1, 2)


def places_in(start: Tensor, length: Tensor, n: int) -> Tensor:
    """Where in a trial of n samples the samples of a part lie `(B, n)`: at the centres of its n equal parts.

    Args:
        start: Where the part begins `(B, 1)`, as a share of the trial.
        length: How long it is, likewise.
        n: Samples; what lies before the first or behind the last is held at it.
    """
    centres = (torch.arange(n, device=start.device) + 0.5) / n
    return ((start + length * centres) * n - 0.5).clamp(0, n - 1)


def at_places(x: Tensor, places: Tensor) -> Tensor:
    """A series `(B, C, n)` at places `(B, m)` between its samples, by linear interpolation `(B, C, m)`."""
    n = x.shape[2]
    # The last sample is reached from the one before it, with share 1, so that index + 1 stays inside.
    before = places.floor().clamp(max=max(n - 2, 0))
    share = (places - before)[:, None].to(x.dtype)
    index = before.long()[:, None].expand(-1, x.shape[1], -1)
    return torch.lerp(x.gather(2, index), x.gather(2, (index + 1).clamp(max=n - 1)), share)
