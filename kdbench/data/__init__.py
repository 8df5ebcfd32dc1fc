"""Data sets: cards, readers, protocols, the prepared store, and the loader."""

BUILTIN = {
    "basic_motions": "kdbench.data.basic_motions:BasicMotions",
    "mmact": "kdbench.data.mmact:MMAct",
    "motionsim": "kdbench.data.motionsim.reader:MotionSim",
    "utd_mhad": "kdbench.data.utd_mhad:UtdMhad",
}
