"""Swin-T over images, driven stage by stage (Liu et al., 2021), from timm."""

from __future__ import annotations

from pathlib import Path

import timm
from timm.models.swin_transformer import checkpoint_filter_fn
from torch import Tensor

from kdbench.encoders import weights as pretraining
from kdbench.encoders.base import Encoder
from kdbench.errors import UsageError
from kdbench.registry import encoder

MODEL = "swin_tiny_patch4_window7_224"
REPOSITORY = f"timm/{MODEL}.ms_in1k"
FILE = "model.safetensors"


@encoder("swin_t", eats="image")
class SwinT(Encoder):
    """Swin-T over an image `(B, C, S, S)`; at S = 224 the maps are 56²×96, 28²×192, 14²×384 and 7²×768.

    Args:
        in_channels: Channels of the image; pretrained kernels are fitted where it is not three.
        weights: `pretrained` (ImageNet-1k), `random`, or the path of a file of weights.
        image_size: S.
        drop_path: Largest rate of stochastic depth in training.
    """

    statistics = pretraining.IMAGENET_STATISTICS
    normalisation = "sample"
    channels = (96, 192, 384, 768)
    width = 768

    def __init__(
        self, in_channels: int, *, weights: str = "pretrained", image_size: int = 224, drop_path: float = 0.1
    ) -> None:
        super().__init__(in_channels)
        self.image_size = image_size
        self.backbone = timm.create_model(
            MODEL, pretrained=False, num_classes=0, in_chans=in_channels, img_size=image_size, drop_path_rate=drop_path
        )
        if weights != "random":
            path = (
                pretraining.hub_file(REPOSITORY, FILE, encoder="swin_t") if weights == "pretrained" else Path(weights)
            )
            left_out = pretraining.load_file(
                self.backbone, path, input_weight="patch_embed.proj.weight", adapt=checkpoint_filter_fn
            )
            from_hub = weights == "pretrained"
            self.pretrained = f"{REPOSITORY} (ImageNet-1k)" if from_hub else pretraining.provenance(path, left_out)

    def stem(self, x: Tensor) -> Tensor:
        """Patches of 4 × 4 pixels, embedded: `(B, C, S, S)` to `(B, 96, S/4, S/4)`.

        Raises:
            UsageError: The image does not have the size that the encoder was built for.
        """
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise UsageError(
                f"swin_t was built for images of {self.image_size}² pixels and got {x.shape[-2]} × {x.shape[-1]}",
                hint="Give the representation and the encoder one image_size.",
            )
        return self.backbone.patch_embed(x).permute(0, 3, 1, 2)

    def stage(self, index: int, x: Tensor) -> Tensor:
        """See the base class; timm's stages start with the patch merging too."""
        return self.backbone.layers[index](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def pool(self, last: Tensor) -> Tensor:
        """LayerNorm, then the mean over the grid: `(B, 768)`."""
        return self.backbone.norm(last.permute(0, 2, 3, 1)).mean((1, 2))

    def tokens(self, last: Tensor) -> Tensor:
        """LayerNorm, then the mean over the rows: `(B, S/32, 768)`."""
        return self.backbone.norm(last.permute(0, 2, 3, 1)).mean(1)
