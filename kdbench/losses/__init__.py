"""Distillation and supervised losses, one file each."""

BUILTIN = {
    "ce": "kdbench.losses.ce:cross_entropy",
    "group_ce": "kdbench.losses.group_ce:GroupCrossEntropy",
    "se": "kdbench.losses.se:SemanticEmbedding",
    "st": "kdbench.losses.st:soft_targets",
    "sgm": "kdbench.losses.sgm:SemanticGraphMapping",
    "rkd": "kdbench.losses.rkd:relational",
    "sp": "kdbench.losses.sp:similarity_preserving",
    "at": "kdbench.losses.at:attention_transfer",
}
