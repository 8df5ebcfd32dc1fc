"""Where programs run: launchers by name, and the processes of this machine that `local` starts."""

from kdbench.registry.builtin import parts_in

BUILTIN = parts_in(__name__, __file__, "launcher")
