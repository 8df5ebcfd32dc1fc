"""The conformance checks: one generator, which `kdbench.testing`, its pytest decorator and `kdbench check` share."""

SUITES = {
    "loss": "kdbench.testing.losses:SUITE",
    "encoder": "kdbench.testing.encoders:SUITE",
    "pooling": "kdbench.testing.poolings:SUITE",
    "fusion": "kdbench.testing.fusions:SUITE",
    "representation": "kdbench.testing.representations:SUITE",
    "semantics": "kdbench.testing.semantics:SUITE",
    "launcher": "kdbench.testing.launchers:SUITE",
    "dataset": "kdbench.testing.datasets:SUITE",
    "method": "kdbench.testing.recipes:SUITE",
    "teacher": "kdbench.testing.recipes:TEACHERS",
}
"""The checks of each kind of part."""
