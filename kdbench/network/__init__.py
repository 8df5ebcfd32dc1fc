"""Networks: what one is, and how it is built from its part of a recipe."""

from kdbench.network.build import build_network, check_representations, unfetched
from kdbench.network.network import ABLATIONS, Branch, Network, evaluating

__all__ = ["ABLATIONS", "Branch", "Network", "build_network", "check_representations", "evaluating", "unfetched"]
