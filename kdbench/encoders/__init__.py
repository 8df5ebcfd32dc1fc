"""Encoders of series, images and clips, in stages."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "encoder")

FAMILIES = {
    "frames": "kdbench.encoders.frames:frames_encoder",
    "timm": "kdbench.encoders.timm_model:timm_encoder",
    "torchvision": "kdbench.encoders.torchvision_model:torchvision_encoder",
}
