"""Fusions of sensor branches, between or after the stages."""

BUILTIN = {
    "none": "kdbench.fusions.none:NoFusion",
    "ft": "kdbench.fusions.ft:FTFusion",
    "concat": "kdbench.fusions.concat:Concat",
}
