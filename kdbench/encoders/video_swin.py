"""Video Swin-T over clips, driven stage by stage (Liu et al., 2022), from torchvision."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.video import Swin3D_T_Weights
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from kdbench.encoders import weights as pretraining
from kdbench.encoders.base import Encoder
from kdbench.registry import encoder

KINETICS = Swin3D_T_Weights.KINETICS400_V1


@encoder("video_swin_t", eats="clip")
class VideoSwinT(Encoder):
    """Video Swin-T over a clip `(B, C, T, H, W)`.

    At 32 × 224² the maps are 16×56²×96, 16×28²×192, 16×14²×384 and 16×7²×768.

    Args:
        in_channels: Channels of a frame; pretrained kernels are fitted where it is not three.
        weights: `pretrained` (Kinetics-400), `random`, or the path of a safetensors file.
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
        if weights != "random":
            path = Path(weights)
            if weights == "pretrained":
                state = pretraining.torchvision_state(KINETICS, encoder="video_swin_t")
            else:
                state = pretraining.read(path)
            origin = KINETICS.url if weights == "pretrained" else str(path)
            pretraining.load(self.backbone, state, origin=origin, input_weight="patch_embed.proj.weight")
            self.pretrained = f"{KINETICS} (Kinetics-400)" if weights == "pretrained" else pretraining.provenance(path)

    def stem(self, x: Tensor) -> Tensor:
        """Patches of 2 × 4 × 4, embedded: `(B, C, T, H, W)` to `(B, 96, T/2, H/4, W/4)`."""
        return self.backbone.pos_drop(self.backbone.patch_embed(x)).permute(0, 4, 1, 2, 3)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class; torchvision lists stages and mergings in turn."""
        x = x.permute(0, 2, 3, 4, 1)
        if index > 0:
            x = self.backbone.features[2 * index - 1](x)
        return self.backbone.features[2 * index](x).permute(0, 4, 1, 2, 3)

    def pool(self, last: Tensor) -> Tensor:
        """LayerNorm, then the mean over time and space: `(B, 768)`."""
        return self.backbone.norm(last.permute(0, 2, 3, 4, 1)).mean((1, 2, 3))
