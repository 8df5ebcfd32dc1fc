"""How a network's pass is compiled."""

from __future__ import annotations

import torch
from torch._functorch import config as functorch_config
from torch.nn import Module


def compile_pass(network: Module) -> None:
    """Compiles the pass of a network that is about to be trained or asked: a graph for each size of its batches.

    All networks are of one class, whose pass torch compiles: left to itself, it would take the next network's sizes for
    unknown ones, and write graphs for any size that take many times as long to make. So no size is left open, and the
    graphs of the network before are forgotten. Evaluation, which would cost further graphs, is not compiled.
    """
    # The norm of every term's gradient goes through one graph again and again: its buffers must outlive a pass.
    functorch_config.donated_buffer = False
    torch.compiler.reset()
    network.compile(dynamic=False)
