"""The conformance checks: one generator, which `kdbench.testing`, its pytest decorator and `kdbench check` share."""

SUITES = {
    "loss": "kdbench.checks.losses:SUITE",
    "encoder": "kdbench.checks.encoders:SUITE",
    "fusion": "kdbench.checks.fusions:SUITE",
    "representation": "kdbench.checks.representations:SUITE",
    "semantics": "kdbench.checks.semantics:SUITE",
    "dataset": "kdbench.checks.datasets:SUITE",
    "method": "kdbench.checks.recipes:SUITE",
}
"""The checks of each kind of part."""
