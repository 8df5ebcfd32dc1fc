"""An encoder of images on each frame of a clip: `frames:NAME`."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor

from kdbench.encoders.base import Encoder
from kdbench.errors import ParameterError, UsageError
from kdbench.registry import encoder, part_of, registry


def frames_encoder(name: str) -> type[Frames]:
    """The encoder `frames:NAME`, where NAME is that of any encoder of images.

    Raises:
        UsageError: There is no such encoder, or it takes something else.
    """
    inner = registry("encoder").get(name)
    eats = part_of(inner).declares["eats"]
    if eats != "image":
        raise UsageError(
            f"the encoder 'frames:{name}' runs an encoder of images on each frame, and '{name}' takes {eats}",
            hint="For example: frames:conv2d, frames:swin_t, frames:timm:resnet50",
        )
    return _of(name, inner)


@functools.cache
def _of(name: str, inner: type[Encoder]) -> type[Frames]:
    attributes = {"__doc__": _doc(name, inner), "__module__": __name__, "inner": inner, "statistics": inner.statistics}
    made = type(f"frames:{name}", (Frames,), attributes)
    made.__signature__ = _signature(inner)  # type: ignore[attr-defined]
    return encoder(f"frames:{name}", eats="clip")(made)


def _doc(name: str, inner: type[Encoder]) -> str:
    """What `Frames` and an encoder of images say of themselves, and the arguments of both."""
    (_, own, taken), (first, more, theirs) = _parts(Frames), _parts(inner)
    about = f"Of `{name}`: {first}" + (f"\n\n{more}" if more else "")
    return f"`{name}` on each frame of a clip.\n\n{own}\n\n{about}\n\nArgs:\n{taken}\n{theirs}".rstrip()


def _parts(component: type[Encoder]) -> tuple[str, str, str]:
    """First paragraph, other paragraphs and arguments of a docstring."""
    prose, _, arguments = str(inspect.getdoc(component)).partition("\n\nArgs:\n")
    first, _, more = prose.partition("\n\n")
    return first, more, arguments


def _signature(inner: type[Encoder]) -> inspect.Signature:
    """The parameters of an encoder, and those of `Frames`."""
    first, *theirs = inspect.signature(inner).parameters.values()
    own = inspect.signature(Frames.__init__).parameters["segments"]
    return inspect.Signature([first, own, *theirs])


class Frames(Encoder):
    """An encoder of images with the same weights on each frame of a clip `(B, C, T, H, W)`.

    Its maps are those of the frames, `(B, C_i, T, h, w)`; a token is the embedding of a frame, and the clip's embedding
    is their mean. With `segments` it sees one frame of each of K equal parts of the clip: in training a random one,
    drawn for each row, and else the centre one, as TSN does (Wang et al., ECCV 2016). What it draws from are the
    `data.frames` of a prepared clip, so give more of those than K.

    Args:
        in_channels: Channels of a frame.
        segments: K; null sees every frame.
    """

    inner: ClassVar[type[Encoder]]

    def __init__(self, in_channels: int, *, segments: int | None = None, **params: Any) -> None:
        super().__init__(in_channels)
        if segments is not None and (not isinstance(segments, int) or segments < 1):
            raise ParameterError(f"segments = {segments!r}: expected a whole number of frames, at least 1", "segments")
        self.segments = segments
        self.image = self.inner(in_channels, **params)
        self.channels = self.image.channels
        self.width = self.image.width
        self.normalisation = self.image.normalisation
        self.isotropic = self.image.isotropic
        self.pretrained = self.image.pretrained

    @property
    def token_width(self) -> int:
        """D, the width of a frame's embedding."""
        return self.width

    def stem(self, x: Tensor) -> Tensor:
        """See the base class.

        Raises:
            UsageError: The clip has fewer frames than there are segments.
        """
        return self._clip(self.image.stem(self._frames(self._seen(x))), x.shape[0])

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self._clip(self.image.stage(index, self._frames(x)), x.shape[0])

    def pool(self, last: Tensor) -> Tensor:
        """The mean of the frames' embeddings."""
        return self.tokens(last).mean(1)

    def tokens(self, last: Tensor) -> Tensor:
        """The embedding of each frame `(B, T, D)`."""
        return self.image.pool(self._frames(last)).unflatten(0, (last.shape[0], -1))

    def _seen(self, x: Tensor) -> Tensor:
        """The frames that are encoded `(B, C, K, H, W)`."""
        count, frames = self.segments, x.shape[2]
        if count is None:
            return x
        if count > frames:
            raise UsageError(
                f"the encoder's segments = {count}, and the clip has {frames} frames",
                hint=f"Give it longer clips: --set data.frames={4 * count}",
            )
        shape = (x.shape[0], count)
        place = torch.rand(shape, device=x.device) if self.training else torch.full(shape, 0.5, device=x.device)
        # Rounding may carry the last place behind the last frame.
        chosen = ((torch.arange(count, device=x.device) + place) * (frames / count)).long().clamp(max=frames - 1)
        rows = torch.arange(x.shape[0], device=x.device)[:, None]
        return x.transpose(1, 2)[rows, chosen].transpose(1, 2)

    @staticmethod
    def _frames(x: Tensor) -> Tensor:
        """A clip `(B, C, T, h, w)` as images `(B·T, C, h, w)`."""
        return x.transpose(1, 2).flatten(0, 1)

    @staticmethod
    def _clip(x: Tensor, rows: int) -> Tensor:
        """Images `(B·T, C, h, w)` as a clip `(B, C, T, h, w)`."""
        return x.unflatten(0, (rows, -1)).transpose(1, 2)
