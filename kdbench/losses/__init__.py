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
    "logits": "kdbench.losses.logits:logit_regression",
    "dkd": "kdbench.losses.dkd:decoupled",
    "dist": "kdbench.losses.dist:correlated",
    "pkt": "kdbench.losses.pkt:probabilistic",
    "cc": "kdbench.losses.cc:correlation_congruence",
    "crd": "kdbench.losses.crd:ContrastiveRepresentation",
    "condrk": "kdbench.losses.condrk:ContrastiveLogits",
    "st_mix": "kdbench.losses.st_mix:mixed_soft_targets",
    "pskd": "kdbench.losses.pskd:AdaptiveTeacher",
    "hint": "kdbench.losses.hint:hint",
    "nst": "kdbench.losses.nst:neuron_selectivity",
    "fsp": "kdbench.losses.fsp:solution_flow",
    "mars": "kdbench.losses.mars:motion_augmented",
    "ickd": "kdbench.losses.ickd:inter_channel_correlation",
    "vid": "kdbench.losses.vid:VariationalInformation",
    "factor": "kdbench.losses.factor:FactorTransfer",
    "gsdm": "kdbench.losses.gsdm:SemanticallyDiscriminativeMapping",
}
FAMILIES = {"torchdistill": "kdbench.losses.bridge:component"}
"""Libraries whose losses go by `PREFIX:NAME`, each with the function that makes one of a name."""
