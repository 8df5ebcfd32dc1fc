"""Video Swin-T over clips, driven stage by stage (Liu et al., 2022), from torchvision."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor, nn
from torchvision.models.video import Swin3D_T_Weights
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from kdbench.encoders import weights as pretraining
from kdbench.encoders.torchvision_model import SwinStages
from kdbench.encoders.window_attention import with_fused_attention
from kdbench.registry import encoder

KINETICS = Swin3D_T_Weights.KINETICS400_V1


@encoder("video_swin_t", eats="clip")
class VideoSwinT(SwinStages):
    """Video Swin-T over a clip `(B, C, T, H, W)`.

    At 32 × 224² the maps are 16×56²×96, 16×28²×192, 16×14²×384 and 16×7²×768.

    Args:
        in_channels: Channels of a frame; pretrained kernels are fitted where it is not three.
        weights: `pretrained` (Kinetics-400), `random`, or the path of a file of weights: with torchvision's names, or
            the authors' own, such as `swin_tiny_patch244_window877_kinetics400_1k.pth`.
        drop_path: Largest rate of stochastic depth in training.
    """

    statistics = pretraining.IMAGENET_STATISTICS
    normalisation = "sample"
    channels = (96, 192, 384, 768)
    width = 768

    def __init__(self, in_channels: int, *, weights: str = "pretrained", drop_path: float = 0.1) -> None:
        super().__init__(in_channels)
        self.backbone = SwinTransformer3d(
            patch_size=[2, 4, 4],
            embed_dim=96,
            depths=[2, 2, 6, 2],
            num_heads=[3, 6, 12, 24],
            window_size=[8, 7, 7],
            stochastic_depth_prob=drop_path,
            num_classes=1,
            patch_embed=partial(PatchEmbed3d, in_channels=in_channels),
        )
        self.backbone.head = nn.Identity()
        with_fused_attention(self.backbone)
        if weights != "random":
            self.pretrained = pretraining.load_torchvision(
                self.backbone,
                KINETICS,
                weights,
                encoder="video_swin_t",
                input_weight="patch_embed.proj.weight",
                adapt=with_torchvisions_names,
            )


_BLOCK = re.compile(r"layers\.(\d+)\.blocks\.(\d+)\.(.+)")
_MERGING = re.compile(r"layers\.(\d+)\.downsample\.(.+)")
_LINEARS = {"mlp.fc1": "mlp.0", "mlp.fc2": "mlp.3"}


def with_torchvisions_names(state: Mapping[str, Tensor], _model: nn.Module) -> dict[str, Tensor]:
    """Weights of Video Swin under the names of torchvision, which are returned as they are.

    The authors' code counts stages and blocks as `layers.I.blocks.J`, and a merging as the end of the stage before it;
    torchvision's has one list in which both take turns. The tensors are the same: the order of the four patches that a
    merging joins, of the table of relative positions, and of the query, key and value.

    Args:
        state: Tensors by name.
        _model: Not used.
    """

    def renamed(name: str) -> str:
        if block := _BLOCK.fullmatch(name):
            stage, number, rest = block.groups()
            for own, theirs in _LINEARS.items():
                rest = rest.replace(own, theirs)
            return f"features.{2 * int(stage)}.{number}.{rest}"
        if merging := _MERGING.fullmatch(name):
            return f"features.{2 * int(merging[1]) + 1}.{merging[2]}"
        return name

    return {renamed(name): value for name, value in state.items()}
