"""Distillation and supervised losses, one file each."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "loss")
FAMILIES = {"torchdistill": "kdbench.losses.bridge:component"}
"""Libraries whose losses go by `PREFIX:NAME`, each with the function that makes one of a name."""
