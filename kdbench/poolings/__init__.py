"""Poolings over time: a branch's tokens to its embedding."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "pooling")
