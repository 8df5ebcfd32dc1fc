"""Representations: raw input to what an encoder takes."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "representation")
