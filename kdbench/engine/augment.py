"""Random changes of the training inputs, drawn from named seeds and applied on the device.

The random numbers are drawn on the host, so that every device and every method sees the same changes at a seed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from kdbench.layers.series import at_places, places_in, turned
from kdbench.recipes.network_spec import Augment
from kdbench.representations.length import lengths_of
from kdbench.types import VIDEO, Batch, is_native, recorded


class Augmenter:
    """Changes the batches of one training.

    Args:
        spec: How much.
        axis_std: Standard deviation of the axes of each series that the network sees, over the training part,
            `{source: (axes,)}` by the names of a batch; what it lacks stays as it is and draws nothing.
        views: The videos that the network sees: `video`, `video:NAME`.
        changes: How much in place of `spec`, by source.
        skeletons: Which of the series are joints, three axes each of which the second is vertical.
    """

    def __init__(
        self,
        spec: Augment,
        axis_std: Mapping[str, Tensor],
        views: Iterable[str] = (VIDEO,),
        changes: Mapping[str, Augment] | None = None,
        skeletons: Collection[str] = (),
    ) -> None:
        specs = {name: (changes or {}).get(recorded(name), spec) for name in (*axis_std, *views)}
        self.axis_std = axis_std
        self.skeletons = frozenset(skeletons)
        self.series = {name: specs[name] for name in axis_std if self._changes_series(name, specs[name])}
        self.views = {name: specs[name] for name in views if _moves(specs[name]) or _changes_time(specs[name])}

    def _changes_series(self, name: str, spec: Augment) -> bool:
        changed = max(spec.noise, spec.scale, spec.axis_scale, spec.axis_drop)
        return self._turns(name, spec) or changed > 0 or _changes_time(spec)

    def _turns(self, name: str, spec: Augment) -> bool:
        return spec.turn_deg > 0 and recorded(name) in self.skeletons

    def _changed_series(self, name: str, x: Tensor, generator: torch.Generator) -> Tensor:
        spec = self.series[name]
        x = _louder(x, spec, self.axis_std[name], generator)
        x = _axis_by_axis(x, spec, generator)
        if self._turns(name, spec):
            x = turned(x, _to(math.radians(spec.turn_deg) * _symmetric((len(x), 1, 1), generator), x))
        # Interpolation would round even where nothing moves.
        if not _changes_time(spec):
            return x
        return _in_time(x, spec, generator, lengths_of(x)[:, None] if is_native(name) else None)

    def __call__(self, batch: Batch, seed: int) -> Batch:
        """Returns the changed batch; labels and ids stay."""
        if not self.series and not self.views:
            return batch
        generator = torch.Generator().manual_seed(seed)
        changed = {
            name: self._changed_series(name, batch.sensors[name], generator)
            for name in self.series
            if name in batch.sensors
        }
        batch = batch.replace(sensors={**batch.sensors, **changed})
        if VIDEO in self.views and batch.video is not None:
            batch = batch.replace(video=_changed_video(batch.video, self.views[VIDEO], generator))
        further = {
            name: _changed_video(batch.views[name], spec, generator)
            for name, spec in self.views.items()
            if name in batch.views
        }
        return batch.replace(views={**batch.views, **further})


def _moves(spec: Augment) -> bool:
    return max(spec.rotate_deg, spec.shift, spec.scale) > 0


def _changes_time(spec: Augment) -> bool:
    return max(spec.time_scale, spec.time_shift) > 0


def _louder(x: Tensor, spec: Augment, axis_std: Tensor, generator: torch.Generator) -> Tensor:
    gain = 1 + spec.scale * _symmetric((len(x), 1, 1), generator)
    # Noise is a share of each axis's own spread, so that one number fits axes in different units.
    noise = spec.noise * torch.randn(x.shape, generator=generator)
    return x * _to(gain, x) + _to(noise, x) * axis_std[:, None]


def _axis_by_axis(x: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
    """Changes the amplitude of each axis of `(B, C, n)` on its own, and flattens some to their means over the trial."""
    rows, axes = x.shape[:2]
    # Nothing is drawn for what does not change, so that runs without these keep their numbers.
    if spec.axis_scale > 0:
        x = x * _to(1 + spec.axis_scale * _symmetric((rows, axes, 1), generator), x)
    if spec.axis_drop > 0:
        drawn = torch.rand((rows, axes), generator=generator)
        # The axis of the largest draw stays, whatever the chance.
        dropped = _to((drawn < spec.axis_drop) & (drawn < drawn.amax(1, keepdim=True)), x)[:, :, None]
        # Native series hold NaN behind their ends, which stays.
        x = torch.where(dropped & ~x.isnan(), x.nanmean(2, keepdim=True), x)
    return x


def _in_time(x: Tensor, spec: Augment, generator: torch.Generator, lengths: Tensor | None = None) -> Tensor:
    """Shows a part of a series `(B, C, n)` at its whole length, by linear interpolation; the ends are held.

    Series of unlike lengths `(B, 1)` keep what is behind their ends.
    """
    rows, _, n = x.shape
    start, length = _part(rows, spec, generator)
    if lengths is not None:
        return _in_time_each(x, _to(start, x), _to(length, x), lengths)
    return at_places(x, _to(places_in(start, length, n), x))


def _part(rows: int, spec: Augment, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Start and length of the part that is shown, as shares of the trial `(rows, 1)`."""
    length = 1 + spec.time_scale * _symmetric((rows, 1), generator)
    # A shorter part lies anywhere within the trial, a longer one anywhere around it.
    start = (1 - length) * torch.rand((rows, 1), generator=generator)
    return start + spec.time_shift * _symmetric((rows, 1), generator), length


def _frames_in_time(video: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
    """Shows a part of a clip at its whole length, by the nearest frames: a mean of two would show a limb twice."""
    places = places_in(*_part(len(video), spec, generator), n=video.shape[2]).round().long()
    index = _to(places, video)[:, None, :, None, None].expand_as(video)
    return video.gather(2, index)


def _in_time_each(x: Tensor, start: Tensor, length: Tensor, lengths: Tensor) -> Tensor:
    at = torch.arange(x.shape[2], device=x.device)
    places = (start + length * (at + 0.5) / lengths) * lengths - 0.5
    places = torch.minimum(places.clamp_min(0), (lengths - 1).to(x.dtype))
    before = places.floor()
    share, index = (places - before)[:, None], before.long()[:, None].expand_as(x)
    after = torch.minimum(index + 1, lengths[:, None] - 1)
    shown = torch.lerp(x.gather(2, index), x.gather(2, after), share)
    # Padding beyond a row's own length stays what it is.
    return torch.where((at < lengths)[:, None], shown, x)


def _changed_video(video: Tensor, spec: Augment, generator: torch.Generator) -> Tensor:
    if _changes_time(spec):
        video = _frames_in_time(video, spec, generator)
    # Sampling the frames anew would blur them even where nothing moves.
    if not _moves(spec):
        return video
    B, C, T, H, W = video.shape
    angle = math.radians(spec.rotate_deg) * _symmetric((B,), generator)
    zoom = 1 + spec.scale * _symmetric((B,), generator)
    # Shares of the size are halves of affine_grid's range [-1, 1].
    shift = 2 * spec.shift * _symmetric((2, B), generator)
    # The grid leads from shown to recorded places, so that dividing by the zoom enlarges.
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    theta = torch.stack([torch.stack([cos, -sin, shift[0]], -1), torch.stack([sin, cos, shift[1]], -1)], 1)
    # Frames pass as channels of one image: a clip is changed as a whole.
    frames = video.reshape(B, C * T, H, W)
    # Frames stay bytes until here; grid_sample takes floats only.
    frames = frames.float() / 255 if video.dtype == torch.uint8 else frames
    grid = F.affine_grid(_to(theta, frames), [B, C * T, H, W], align_corners=False)
    return F.grid_sample(frames, grid, align_corners=False).reshape(B, C, T, H, W)


def _symmetric(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def _to(value: Tensor, like: Tensor) -> Tensor:
    # From pinned memory the copy runs beside the host's work.
    if like.is_cuda:
        value = value.pin_memory()
    return value.to(like.device, non_blocking=True)
