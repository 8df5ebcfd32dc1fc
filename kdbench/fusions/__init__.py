"""Fusions of sensor branches, between or after the stages."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "fusion")
