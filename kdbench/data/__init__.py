"""Data sets: cards, readers, protocols, the prepared store, and the loader."""

BUILTIN = {
    "motionsim": "kdbench.data.motionsim.reader:MotionSim",
    "utd_mhad": "kdbench.data.utd_mhad:UtdMhad",
}
