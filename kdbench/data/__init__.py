"""Data sets: cards, readers, protocols, the prepared store, and the loader."""

BUILTIN = {
    "basic_motions": "kdbench.data.readers.basic_motions:BasicMotions",
    "mmact": "kdbench.data.readers.mmact:MMAct",
    "mmact37": "kdbench.data.readers.mmact:MMAct",
    "motionsim": "kdbench.data.readers.motionsim.reader:MotionSim",
    "smartfallmm": "kdbench.data.readers.files.reader:FilesReader",
    "utd_mhad": "kdbench.data.readers.utd_mhad:UtdMhad",
}
UNLISTED = {"files": "kdbench.data.readers.files.reader:FilesReader"}
"""Readers of cards that users write; they are no data sets themselves."""
