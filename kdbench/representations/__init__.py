"""Representations: raw input to what an encoder takes."""

BUILTIN = {
    "raw": "kdbench.representations.raw:Raw",
    "gaf": "kdbench.representations.gaf:GramianAngularField",
    "mtf": "kdbench.representations.mtf:MarkovTransitionField",
    "recurrence": "kdbench.representations.recurrence:RecurrencePlot",
    "spectrogram": "kdbench.representations.spectrogram:Spectrogram",
    "clip": "kdbench.representations.clip:Clip",
}
