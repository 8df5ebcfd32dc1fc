"""Fusions of sensor branches, between or after the stages."""

BUILTIN = {
    "none": "kdbench.fusions.none:NoFusion",
    "ft": "kdbench.fusions.ft:FTFusion",
    "concat": "kdbench.fusions.concat:Concat",
    "sum": "kdbench.fusions.sum:Sum",
    "hadamard": "kdbench.fusions.hadamard:Hadamard",
    "attention": "kdbench.fusions.attention:Attention",
    "multihead": "kdbench.fusions.multihead:MultiHead",
    "guided": "kdbench.fusions.guided:Guided",
    "spamfm": "kdbench.fusions.spamfm:SPAMFMFusion",
}
