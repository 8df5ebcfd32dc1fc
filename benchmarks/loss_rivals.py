"""torchdistill's losses beside ours: the same inputs and the same parameters, as far as both have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchdistill.losses import mid_level
from torchdistill.models import wrapper

from kdbench.registry import part_of, registry
from kdbench.types import Batch, Context, Widths

SAMPLES, CLASSES, WIDTH, TRIALS, COMMON = 256, 27, 768, 431, 128
MAPS = ((16, 96, 56, 56), (16, 192, 28, 28), (16, 384, 14, 14), (16, 768, 7, 7))
RATE = 0.5

Side = tuple[Callable[[], Tensor], list[Tensor]]
Forward = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Rival:
    """One loss in both libraries.

    Attributes:
        title: What stands in the table.
        loss: Our registered name.
        theirs: Makes their loss: a function of what ours gets, and the module that holds its parameters.
        params: Ours.
        maps: The shapes of the maps, for a loss on stages.
    """

    title: str
    loss: str
    theirs: Callable[[], tuple[Forward, nn.Module]]
    params: Mapping[str, Any] = field(default_factory=dict)
    maps: Sequence[tuple[int, ...]] = ()

    @property
    def size(self) -> str:
        """What the losses are called with."""
        if self.maps:
            return f"{len(self.maps)} stages" if len(self.maps) > 1 else " × ".join(map(str, self.maps[0]))
        return f"{SAMPLES} × {CLASSES if self._on == 'logits' else WIDTH}"

    @property
    def _on(self) -> str:
        return part_of(registry("loss").get(self.loss)).declares["on"]

    def sides(self, device: str) -> tuple[Side, Side]:
        """Our call and theirs, each with the tensors that get a gradient."""
        student, teacher = (self._inputs(seed, device) for seed in (0, 1))
        leaves = [x.requires_grad_() for x in (student if self.maps else [student])]
        ours, own = self._ours(device)
        theirs, module = self.theirs()
        module.to(device)
        return (
            (lambda: ours(student, teacher), [*leaves, *own]),
            (lambda: theirs(student, teacher), [*leaves, *module.parameters()]),
        )

    def _inputs(self, seed: int, device: str) -> Any:
        if self.maps:
            return [sample(*shape, seed=seed, device=device) for shape in self.maps]
        return sample(SAMPLES, CLASSES if self._on == "logits" else WIDTH, seed=seed, device=device)

    def _ours(self, device: str) -> tuple[Forward, list[Tensor]]:
        component, parameters = registry("loss").get(self.loss), list[Tensor]()
        params = dict(self.params)
        if inspect.isclass(component):
            channels = tuple(shape[1] for shape in self.maps)
            widths = Widths(CLASSES, channels, WIDTH)
            component, params = component(Context(CLASSES, widths, (widths,), train_size=TRIALS), **params), {}
            parameters = list(component.to(device).parameters())
        call = component.forward if isinstance(component, nn.Module) else component
        if "batch" in inspect.signature(call).parameters:
            index = torch.arange(SAMPLES, device=device)
            params["batch"] = Batch({}, None, index % CLASSES, tuple(map(str, range(SAMPLES))), index)
        return (lambda student, teacher: component(student, teacher, **params)), parameters


def sample(*shape: int, seed: int, device: str = "cpu") -> Tensor:
    """Random numbers of this shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


def _said(value: Any) -> dict[str, dict[str, Any]]:
    return {"layer": {"output": value}}


def _on_one(name: str, **params: Any) -> Callable[[], tuple[Forward, nn.Module]]:
    """A loss of torchdistill on one tensor of each network; its paths are filled in by their names."""
    kind = getattr(mid_level, name)
    keys = inspect.signature(kind.__init__).parameters
    paths = {key: "output" if key.endswith("_io") else "layer" for key in keys if key.endswith(("_path", "_io"))}

    def make() -> tuple[Forward, nn.Module]:
        module = kind(**paths, **params)
        return lambda student, teacher: module(_said(_only(student)), _said(_only(teacher))), module

    return make


def _only(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else value[0]


def _layer(number: int) -> dict[str, str]:
    return {"io": "output", "path": str(number)}


def _stages(maps: Sequence[Any]) -> dict[str, dict[str, Any]]:
    return {str(number): {"output": each} for number, each in enumerate(maps)}


def _attention() -> tuple[Forward, nn.Module]:
    pairs = {str(n): {"teacher": _layer(n), "student": _layer(n)} for n in range(len(MAPS))}
    module = mid_level.ATLoss(pairs, mode="code")
    return lambda student, teacher: module(_stages(student), _stages(teacher)), module


def _flow() -> tuple[Forward, nn.Module]:
    pairs = {
        str(n): {
            "teacher_first": _layer(n),
            "teacher_second": _layer(n + 1),
            "student_first": _layer(n),
            "student_second": _layer(n + 1),
        }
        for n in range(len(MAPS) - 1)
    }
    module = mid_level.FSPLoss(pairs)
    return lambda student, teacher: module(_stages(student), _stages(teacher)), module


def _variational() -> tuple[Forward, nn.Module]:
    module = mid_level.VIDLoss({str(n): {"teacher": _layer(n), "student": _layer(n)} for n in range(len(MAPS))})
    regressors = nn.ModuleList(wrapper.Regressor4VID(s[1], s[1], s[1], 1e-5, 5.0) for s in MAPS)

    def forward(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        predicted = [regressor(x) for regressor, x in zip(regressors, student, strict=True)]
        return module(_stages(predicted), _stages(teacher))

    return forward, nn.ModuleList([module, regressors])


def _factors() -> tuple[Forward, nn.Module]:
    """A step of both stages, which ours takes as one; convolutions of width 1, as ours."""
    module = mid_level.FTLoss(p=1)
    channels = MAPS[-1][1]
    paraphraser = wrapper.Paraphraser4FactorTransfer(RATE, channels, kernel_size=1, padding=0, uses_bn=False)
    translator = wrapper.Translator4FactorTransfer(
        channels, int(RATE * channels), kernel_size=1, padding=0, uses_bn=False
    )

    def forward(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        factors = paraphraser.encoder(teacher[0])
        error = F.mse_loss(paraphraser.decoder(factors), teacher[0])
        said = {"paraphraser": {"output": factors.detach()}}
        return module({"translator": {"output": translator(student[0])}}, said) + error

    return forward, nn.ModuleList([paraphraser, translator])


def _contrast() -> tuple[Forward, nn.Module]:
    """With a memory of all trials, every other trial a negative, their indices given."""
    module = mid_level.CRDLoss("s", "e", "t", COMMON, TRIALS, TRIALS - 1, TRIALS)
    embed = nn.ModuleList(wrapper.Normalizer4CRD(nn.Linear(WIDTH, COMMON)) for _ in range(2))
    own = torch.arange(SAMPLES)
    others = (own[:, None] + torch.arange(TRIALS)) % TRIALS

    def forward(student: Tensor, teacher: Tensor) -> Tensor:
        said = {"s": {"output": embed[0](student)}, "e": {"input": {"pos_idx": own, "contrast_idx": others}}}
        return module(said, {"t": {"output": embed[1](teacher)}}).sum()

    return forward, embed


_GAUSSIAN = {"type": "gaussian", "gamma": 0.4, "max_p": 2}

RIVALS = (
    Rival("st", "st", _on_one("KDLoss", temperature=4.0, beta=1.0), {"scale": "none"}),
    Rival(
        "st, standardised",
        "st",
        _on_one("LogitStdKDLoss", temperature=4.0, beta=1.0),
        {"scale": "none", "standardize": True},
    ),
    Rival("dist", "dist", _on_one("DISTLoss")),
    Rival(
        "rkd, distance",
        "rkd",
        _on_one("RKDLoss", dist_factor=1.0, angle_factor=0, reduction="mean"),
        {"distance_weight": 1, "angle_weight": 0},
    ),
    Rival(
        "rkd, angle",
        "rkd",
        _on_one("RKDLoss", dist_factor=0, angle_factor=1.0, reduction="mean"),
        {"distance_weight": 0, "angle_weight": 1},
    ),
    Rival(
        "rkd, both",
        "rkd",
        _on_one("RKDLoss", dist_factor=25.0, angle_factor=50.0, reduction="mean"),
    ),
    Rival("pkt", "pkt", _on_one("PKTLoss")),
    Rival("cc", "cc", _on_one("CCKDLoss", kernel_config=_GAUSSIAN, reduction="batchmean")),
    Rival("crd, memory", "crd", _contrast, {"negatives": "memory"}),
    Rival("sp", "sp", _on_one("SPKDLoss", reduction="batchmean"), maps=MAPS[:1]),
    Rival("at", "at", _attention, maps=MAPS),
    Rival("fsp", "fsp", _flow, maps=MAPS),
    Rival("vid", "vid", _variational, maps=MAPS),
    Rival("factor", "factor", _factors, maps=MAPS[-1:]),
)
