"""Which of torchdistill's losses are bridged, what each compares, and where it is not what its paper has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Trap:
    """A deviation that makes a loss another one than its name says; refused unless the recipe accepts it.

    Attributes:
        name: What a recipe accepts it by: `accept: NAME`.
        why: The deviation, as the end of a sentence that begins with the loss's name.
        instead: What to use.
        holds: Whether it holds under the given parameters.
    """

    name: str
    why: str
    instead: str
    holds: Callable[[Mapping[str, Any]], bool] = lambda _given: True


@dataclass(frozen=True)
class BridgedLoss:
    """How one of torchdistill's losses meets the features.

    Attributes:
        paper: Where it was published.
        on: Field that it compares; None where it compares two.
        reads: Those two.
        project: Whether the student's widths are brought to the teacher's.
        pairs: Its argument that lists pairs of modules, where it compares several stages.
        images: Whether its maps must be images `(B, C, H, W)`.
        tupled: Whether it takes the student's value out of a tuple.
        several: Whether it is undefined for a batch of one, and so 0.
        undefined: Where else the library has no value or no gradient, as the end of a sentence; 0 is taken there.
        reads_labels: Whether it may mix the labels' cross-entropy in; trials without a label are left out of that.
        compiles: Whether it survives `torch.compile(fullgraph=True)`.
        defaults: Defaults in the place of the library's.
        differs: What else to know.
        traps: What must be accepted by name.
    """

    paper: str
    on: str | None
    reads: tuple[str, ...] = ()
    project: bool = False
    pairs: str | None = None
    images: bool = False
    tupled: bool = False
    several: bool = False
    undefined: str = ""
    reads_labels: bool = False
    compiles: bool = True
    defaults: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""
    traps: tuple[Trap, ...] = ()


_ROW_NORM = Trap(
    "l1_norm",
    "divides the rows of the similarities by their L1 norm, where Tung and Mori (ICCV 2019, eq. 2) have the L2 norm",
    "Use the published loss: sp",
)


def _without_t2(instead: str) -> Trap:
    return Trap(
        "no_t2",
        "leaves out the factor T^2, and beta, where alpha is missing or 0",
        f"Set alpha (alpha > 0 mixes the labels' cross-entropy in), or use {instead}",
        lambda given: not given.get("alpha"),
    )


_LABELS = (
    "With alpha > 0 it is `alpha CE + beta T^2 KL`, beta being 1 - alpha unless given: the labels' cross-entropy is in "
    "it already, beside the recipe's `ce`."
)

ENTRIES: dict[str, BridgedLoss] = {
    "KDLoss": BridgedLoss(
        "Hinton, Vinyals and Dean, 2015",
        on="logits",
        reads_labels=True,
        defaults={"alpha": 0.0},
        differs=_LABELS,
        traps=(_without_t2("st"),),
    ),
    "LogitStdKDLoss": BridgedLoss(
        "Sun et al., CVPR 2024",
        on="logits",
        undefined="with one class, which has no deviation",
        reads_labels=True,
        defaults={"alpha": 0.0},
        differs=_LABELS,
        traps=(_without_t2("st with standardize: true"),),
    ),
    "DISTLoss": BridgedLoss(
        "Huang et al., NeurIPS 2022",
        on="logits",
        differs="It multiplies both terms by tau^2, as the authors' code for classification does.",
    ),
    "SKDInstanceLoss": BridgedLoss(
        "Jeong, Lee and Choi, CVPR 2026, the term between instances",
        on="logits",
        differs="In `mode: code`, half of the samples count: those that the teacher is least sure of.",
    ),
    "SKDDirectionLoss": BridgedLoss(
        "Jeong, Lee and Choi, CVPR 2026, the term between directions",
        on="logits",
        several=True,
        compiles=False,
        undefined="where both networks agree on a trial, or on all that set trials apart",
        differs="It inverts a matrix of the batch's size, and waits for the device to know whether that worked.",
    ),
    "PKTLoss": BridgedLoss(
        "Passalis and Tefas, ECCV 2018",
        on="embedding",
        undefined="on an embedding of zeros",
        differs="`pkt` has the same values.",
    ),
    "RKDLoss": BridgedLoss(
        "Park et al., CVPR 2019",
        on="embedding",
        several=True,
        compiles=False,
        differs="It picks the distances above 0 by a mask, which waits for the device, and holds a tensor of B B D for "
        "the angles; `rkd` has the same values with `B B`.",
    ),
    "CCKDLoss": BridgedLoss(
        "Peng et al., ICCV 2019",
        on="embedding",
        differs="The Frobenius norm of the difference is not squared, and the features are not normalised, so that "
        "`kernel_config: {type: gaussian, gamma: …, max_p: …}` grows without bound with their length, in a Python loop "
        "over samples. `cc` follows the paper.",
    ),
    "SPKDLoss": BridgedLoss("Tung and Mori, ICCV 2019", on="stages", traps=(_ROW_NORM,)),
    "ATLoss": BridgedLoss(
        "Zagoruyko and Komodakis, ICLR 2017",
        on="stages",
        pairs="at_pairs",
        differs="`mode` is `code` (squares) or `paper` (the norm of eq. 2).",
    ),
    "FSPLoss": BridgedLoss(
        "Yim et al., CVPR 2017",
        on="stages",
        project=True,
        pairs="fsp_pairs",
        images=True,
        differs="It sums the norms of the columns of the difference, not their squares. Each stage is related to the "
        "next one of `stages`. `fsp` follows the paper.",
    ),
    "AltActTransferLoss": BridgedLoss(
        "Heo et al., AAAI 2019",
        on="stages",
        project=True,
        pairs="feature_pairs",
        differs="It sums over all positions of a map, so that its size depends on the resolution. It is meant for "
        "values before the activation; stages are what the encoder hands on. `ab` can take the mean over "
        "the entries.",
    ),
    "ChSimLoss": BridgedLoss(
        "Liu et al., ICCV 2021",
        on="stages",
        project=True,
        pairs="feature_pairs",
        differs="It divides by the squared number of samples. `ickd` follows the paper.",
    ),
    "FTLoss": BridgedLoss(
        "Kim, Park and Kwak, NeurIPS 2018",
        on="stages",
        project=True,
        undefined="where a map of a trial is zero",
        differs="Without the paper's paraphraser, which `factor` trains: the maps themselves are compared.",
    ),
    "KTALoss": BridgedLoss(
        "He et al., CVPR 2019, knowledge adaptation",
        on="stages",
        project=True,
        undefined="where a map of a trial is zero",
        differs="Without the paper's auto-encoder: the maps themselves are compared.",
    ),
    "AffinityLoss": BridgedLoss(
        "He et al., CVPR 2019, affinity distillation",
        on="stages",
        project=True,
        undefined="where a channel is zero over a whole map",
        differs="It loops over the channels in Python.",
    ),
    "HierarchicalContextLoss": BridgedLoss(
        "Chen et al., CVPR 2021",
        on="stages",
        project=True,
        images=True,
        tupled=True,
        differs="Without the paper's fusion of the student's stages, which `reviewkd` learns.",
    ),
    "SRDLoss": BridgedLoss(
        "Miles and Mikolajczyk, AAAI 2024",
        on=None,
        reads=("logits", "embedding"),
        project=True,
        undefined="where both networks agree exactly, towards which it falls without bound",
        differs="The logarithm of a sum over the batch.",
    ),
    "DISTPlusLoss": BridgedLoss(
        "Huang et al., TPAMI 2025",
        on=None,
        reads=("logits", "stages"),
        project=True,
        traps=(
            Trap(
                "channel_sign",
                "adds the correlation of the channels instead of 1 minus it, so that training drives it down",
                "Set iota: 0 to leave that term out, or use dist",
                lambda given: given.get("iota", 1.0) > 0,
            ),
        ),
        undefined="where all channels of a position are equal, unless iota and kappa are 0",
    ),
}

_VIEWS = "it needs a module for self-supervision and four views of each sample"

REFUSED: dict[str, tuple[str, str]] = {
    "CRDLoss": (
        "it keeps a memory of every sample, drawn from by a method that reads an attribute it never sets",
        "Use kdbench's: crd",
    ),
    "VIDLoss": ("it needs the student to predict means and variances of the teacher's maps", "Use kdbench's: vid"),
    "PADL2Loss": ("it needs a module that estimates variances", "vid learns variances too"),
    "SSKDLoss": (_VIEWS, "Relations between samples without it: rkd, crd"),
    "AuxSSKDLoss": (_VIEWS, "Relations between samples without it: rkd, crd"),
    "RegularizationLoss": ("it has no teacher", "Decay the weights: --set student.train.weight_decay=…"),
    "SimpleLossWrapper": ("it wraps another loss", "Name that loss, or write your own: kdbench new loss NAME"),
    "DictLossWrapper": ("it wraps another loss", "Name that loss, or write your own: kdbench new loss NAME"),
}
"""What needs more than features: why, and what to use instead."""
