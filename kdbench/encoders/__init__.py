"""Four-stage encoders of series, images and clips."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "encoder")

FAMILIES = {
    "timm": "kdbench.encoders.timm_model:timm_encoder",
    "torchvision": "kdbench.encoders.torchvision_model:torchvision_encoder",
}
