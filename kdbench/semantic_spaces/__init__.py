"""Label names to vectors."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "semantics")
