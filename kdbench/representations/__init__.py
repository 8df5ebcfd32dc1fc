"""Representations: raw input to what an encoder eats."""

BUILTIN = {
    "raw": "kdbench.representations.raw:Raw",
    "gaf": "kdbench.representations.gaf:GramianAngularField",
    "clip": "kdbench.representations.clip:Clip",
}
