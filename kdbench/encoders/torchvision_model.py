"""Any video model of torchvision, driven in four stages: `torchvision:NAME`."""

from __future__ import annotations

import functools
import inspect
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _triple

from kdbench.encoders import weights as pretraining
from kdbench.encoders.base import Encoder
from kdbench.encoders.window_attention import with_fused_attention
from kdbench.errors import UsageError, near_misses
from kdbench.registry import encoder
from kdbench.text.wording import counted


@functools.cache
def torchvision_encoder(name: str) -> type[TorchvisionVideo]:
    """The encoder `torchvision:NAME`.

    Raises:
        UsageError: torchvision has no such video model, or one of a kind that is not known here.
    """
    from torchvision import models

    known = models.list_models(module=models.video)
    if name not in known:
        raise UsageError(
            f"torchvision has no video model '{name}'{near_misses(name, known)}",
            hint="Write it as torchvision:NAME, for example torchvision:r3d_18",
        )
    kind = _kind(name)
    if kind not in KINDS:
        raise UsageError(
            f"the encoder 'torchvision:{name}' cannot be driven in four stages: its kind '{kind}' is not known",
            hint=f"Those that can: {', '.join(model for model in known if _kind(model) in KINDS)}",
        )
    preset: Any = models.get_model_weights(name).DEFAULT.transforms()

    _, _, arguments = str(inspect.getdoc(TorchvisionVideo)).partition("\n\n")
    attributes = {
        "__doc__": f"`{name}` of torchvision.\n\n{inspect.getdoc(KINDS[kind])}\n\n{arguments}",
        "__module__": __name__,
        "model_name": name,
        "statistics": (tuple(preset.mean), tuple(preset.std)),
    }
    return encoder(f"torchvision:{name}", eats="clip")(type(f"torchvision:{name}", (KINDS[kind],), attributes))


def _kind(name: str) -> str:
    from torchvision import models

    return models.get_model_builder(name).__module__.rpartition(".")[2]


class TorchvisionVideo(Encoder):
    """A video model of torchvision.

    Args:
        in_channels: Channels of a frame; pretrained kernels are fitted where it is not three.
        weights: `pretrained` (Kinetics-400), `random`, or the path of a file of weights.
    """

    model_name: ClassVar[str]
    first_kernel: ClassVar[str]

    def __init__(self, in_channels: int, *, weights: str = "pretrained") -> None:
        from torchvision import models

        super().__init__(in_channels)
        self.backbone: Any = models.get_model(self.model_name, weights=None)
        self._drop_head()
        if in_channels != 3:
            self._see(in_channels)
        self.normalisation = pretraining.normalisation_of(self.backbone)
        if weights != "random":
            self._load(weights)

    def _drop_head(self) -> None:
        name = (
            "classifier" if hasattr(self.backbone, "classifier") else "head" if hasattr(self.backbone, "head") else "fc"
        )
        setattr(self.backbone, name, nn.Identity())

    def _see(self, channels: int) -> None:
        """Replaces the first convolution by one that sees this number of channels."""
        place = self.first_kernel.removesuffix(".weight")
        old = self.backbone.get_submodule(place)
        new = nn.Conv3d(
            channels,
            old.out_channels,
            old.kernel_size,
            _triple(old.stride),
            _triple(old.padding),
            bias=old.bias is not None,
        )
        nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
        parent, _, name = place.rpartition(".")
        holder = self.backbone.get_submodule(parent)
        if isinstance(holder, nn.Sequential):
            holder[int(name)] = new
        else:
            setattr(holder, name, new)

    def _load(self, weights: str) -> None:
        from torchvision import models

        entry: Any = models.get_model_weights(self.model_name).DEFAULT
        self.pretrained = pretraining.load_torchvision(
            self.backbone,
            entry,
            weights,
            encoder=f"torchvision:{self.model_name}",
            input_weight=self.first_kernel,
            head=("head", "fc", "classifier"),
        )


class VideoResNet(TorchvisionVideo):
    """A residual net over clips (Tran et al., 2018): `r3d_18`, `mc3_18`, `r2plus1d_18`."""

    first_kernel = "stem.0.weight"

    def __init__(self, in_channels: int, *, weights: str = "pretrained") -> None:
        super().__init__(in_channels, weights=weights)
        width = self.backbone.inplanes
        self.channels = (width // 8, width // 4, width // 2, width)
        self.width = width

    def stem(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.backbone.stem(x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class."""
        return self.backbone.get_submodule(f"layer{index + 1}")(x)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over time and space."""
        return self.backbone.avgpool(last).flatten(1)


class S3D(TorchvisionVideo):
    """Separable Inception over clips (Xie et al., 2018): `s3d`. Frames of at least 32², clips of at least 8 of them.

    The embedding is the mean over time and space; torchvision's own head first averages over windows of 2 × 7 × 7,
    which frames below 224² do not fill.
    """

    first_kernel = "features.0.0.0.weight"
    channels = (192, 480, 832, 1024)
    width = 1024
    ends = (1, 4, 7, 13, 16)

    def stem(self, x: Tensor) -> Tensor:
        """See the base class."""
        return self.backbone.features[: self.ends[0]](x)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class; a stage begins with the pooling that halves its grid."""
        return self.backbone.features[self.ends[index] : self.ends[index + 1]](x)

    def pool(self, last: Tensor) -> Tensor:
        """Mean over time and space."""
        return last.mean((2, 3, 4))


class SwinStages(Encoder):
    """A Swin transformer of torchvision over clips, as its four stages are driven."""

    backbone: Any

    def stem(self, x: Tensor) -> Tensor:
        """Patches of 2 × 4 × 4, embedded: `(B, C, T, H, W)` to `(B, C_1, T/2, H/4, W/4)`."""
        return self.backbone.pos_drop(self.backbone.patch_embed(x)).permute(0, 4, 1, 2, 3)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class; torchvision lists stages and mergings in turn."""
        x = x.permute(0, 2, 3, 4, 1)
        if index > 0:
            x = self.backbone.features[2 * index - 1](x)
        return self.backbone.features[2 * index](x).permute(0, 4, 1, 2, 3)

    def pool(self, last: Tensor) -> Tensor:
        """LayerNorm, then the mean over time and space: `(B, C_4)`."""
        return self.backbone.norm(last.permute(0, 2, 3, 4, 1)).mean((1, 2, 3))

    def tokens(self, last: Tensor) -> Tensor:
        """LayerNorm, then the mean over space: `(B, T/2, C_4)`."""
        return self.backbone.norm(last.permute(0, 2, 3, 4, 1)).mean((2, 3))


class Swin3d(SwinStages, TorchvisionVideo):
    """Video Swin over clips (Liu et al., 2022): `swin3d_t`, `swin3d_s`, `swin3d_b`."""

    first_kernel = "patch_embed.proj.weight"

    def __init__(self, in_channels: int, *, weights: str = "pretrained") -> None:
        super().__init__(in_channels, weights=weights)
        with_fused_attention(self.backbone)
        width = self.backbone.num_features
        self.channels = (width // 8, width // 4, width // 2, width)
        self.width = width


class MViT(TorchvisionVideo):
    """Multiscale vision transformer over clips (Fan et al., 2021; Li et al., 2022): `mvit_v1_b`, `mvit_v2_s`.

    torchvision builds it for 16 frames of 224². The class token is no part of a map: it passes from stage to stage
    beside it, a fusion between stages does not touch it, and it is the embedding. It looks at the patches for the last
    time in the last block, which therefore follows the last map: the last map is what that block takes.
    """

    first_kernel = "conv_proj.weight"
    clip = (16, 224, 224)

    def __init__(self, in_channels: int, *, weights: str = "pretrained") -> None:
        super().__init__(in_channels, weights=weights)
        blocks = list(self.backbone.blocks)
        starts = [place for place, block in enumerate(blocks) if place == 0 or _strided(block)]
        if len(starts) != 4:
            raise UsageError(
                f"the encoder 'torchvision:{self.model_name}' has {counted(len(starts), 'resolution')} instead of four",
                hint="Take one with four, such as torchvision:mvit_v2_s.",
            )
        self.bounds = (*starts, len(blocks) - 1)
        first, second, third, fourth = (blocks[end - 1].mlp[3].out_features for end in self.bounds[1:])
        self.channels = (first, second, third, fourth)
        self.width = fourth

    # The class token of the batch that is on its way through the stages.
    _beside: Tensor | None = None

    def stem(self, x: Tensor) -> Tensor:
        """Patches with their positions: `(B, C, T, H, W)` to `(B, 96, T/2, H/4, W/4)`.

        Raises:
            UsageError: The clip does not have the size that the encoder was built for.
        """
        if x.shape[2:] != self.clip:
            raise UsageError(
                f"torchvision:{self.model_name} was built for clips of {self.clip} and got {tuple(x.shape[2:])}",
                hint="Give it such clips: --set data.frames=16 --set data.frame_size=224",
            )
        patches = self.backbone.conv_proj(x)
        return self._map(self.backbone.pos_encoding(patches.flatten(2).mT), patches.shape[2:])

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class; a stage begins with the block that pools its queries."""
        grid = tuple(x.shape[2:])
        tokens = self._tokens(x)
        for block in self.backbone.blocks[self.bounds[index] : self.bounds[index + 1]]:
            tokens, grid = block(tokens, grid)
        return self._map(tokens, grid)

    def pool(self, last: Tensor) -> Tensor:
        """The class token after the last block and norm."""
        return self._end(last)[0][:, 0]

    def tokens(self, last: Tensor) -> Tensor:
        """The patches after the last block and norm, averaged over space: `(B, T/2, C_4)`."""
        tokens, grid = self._end(last)
        return tokens[:, 1:].unflatten(1, grid).mean((2, 3))

    def _end(self, last: Tensor) -> tuple[Tensor, Any]:
        """All tokens after the last block and norm, and the grid of the patches."""
        tokens, grid = self.backbone.blocks[-1](self._tokens(last), tuple(last.shape[2:]))
        self._beside = None
        return self.backbone.norm(tokens), tuple(grid)

    def _tokens(self, x: Tensor) -> Tensor:
        patches = x.flatten(2).mT
        return patches if self._beside is None else torch.cat([self._beside, patches], 1)

    def _map(self, tokens: Tensor, grid: Any) -> Tensor:
        self._beside = tokens[:, :1]
        return tokens[:, 1:].mT.unflatten(2, tuple(grid))


def _strided(block: Any) -> bool:
    pool = block.attn.pool_q
    return pool is not None and any(step > 1 for step in pool.pool.stride)


KINDS: dict[str, type[TorchvisionVideo]] = {"resnet": VideoResNet, "s3d": S3D, "swin_transformer": Swin3d, "mvit": MViT}
"""By the module of torchvision that builds the model."""
