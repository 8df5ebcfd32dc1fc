"""torchdistill's losses under the names `torchdistill:NAME`, by one adapter.

torchdistill (Matsubara, 2021) hands a loss two dictionaries, of what the modules of the student and of the teacher took
in and gave out; the constructor's arguments say which modules. The adapter fills those dictionaries from the features,
so that a recipe sets a loss's own parameters alone. The values are the library's, also where they are not the paper's:
what differs stands in each description, and what is another loss than its name says must be accepted by name.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.errors import ParameterError, UsageError, near_misses, shortened, unknown
from kdbench.losses.bridged import ENTRIES, REFUSED, BridgedLoss
from kdbench.losses.maps import align_maps, chosen_stages
from kdbench.losses.numerics import at_least_float32, without_autocast
from kdbench.registry import loss
from kdbench.types import Batch, Context, Widths

FAMILY = "torchdistill"
_MODULE = "torchdistill.losses.mid_level"
_MAIN, _FEATURE = "main", "feature"
_IMAGE_DIM = 4
_NO_LABEL = -100
"""What the cross-entropy of torch leaves out."""
_RUN_AWAY = 1e6

Pairs = dict[str, tuple[Tensor, Tensor]]


@functools.cache
def component(name: str) -> type[nn.Module]:
    """A loss of torchdistill by the name of its class, for example `torchdistill:PKTLoss`.

    Args:
        name: The class.

    Raises:
        UsageError: No such loss (the near misses are named), one that needs more than features, or the library is not
            installed or too old.
    """
    if name in REFUSED:
        why, instead = REFUSED[name]
        raise UsageError(f"{FAMILY}:{name} cannot be bridged: {why}", hint=instead)
    if name not in ENTRIES:
        hint = f"Take one of these, for example {FAMILY}:{min(ENTRIES)}"
        raise UsageError(f"{FAMILY} has no loss '{shortened(name)}'{near_misses(name, ENTRIES)}", hint=hint)
    try:
        library = getattr(importlib.import_module(_MODULE), name)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{FAMILY}:{name} is not there: {error}", hint="Install or update it: pip install -U torchdistill"
        ) from error
    entry = ENTRIES[name]

    def build(self: Bridged, **given: Any) -> None:
        Bridged.__init__(self, **given)

    # Recipes are checked against the signature, which **given would hide.
    build.__signature__ = _signature(entry, library)  # type: ignore[attr-defined]
    members = {"entry": entry, "library": library, "__init__": build, "__doc__": _description(name, entry)}
    declare = loss(
        f"{FAMILY}:{name}",
        on=entry.on,
        reads=entry.reads,
        project=entry.project and entry.on is not None,
        labels="optional" if entry.reads_labels else "unused",
        compiles=entry.compiles,
    )
    return declare(type(name, (Bridged,), members))


class Bridged(nn.Module):
    """One of torchdistill's losses, called with features.

    Args:
        context: Widths of the networks.
        accept: Names of deviations that the recipe takes on knowingly.
        stage: The stage whose map is compared, where the loss compares one.
        stages: The stages whose maps are compared, where it compares several; None for all.
        given: The library's own parameters.

    Raises:
        UsageError: A deviation that is not accepted, or a value that the library refuses.
    """

    entry: BridgedLoss
    library: type[nn.Module]

    def __init__(
        self,
        *,
        context: Context,
        accept: str | Sequence[str] = (),
        stage: int = -1,
        stages: Sequence[int] | None = None,
        **given: Any,
    ) -> None:
        super().__init__()
        ours, theirs = context.student, context.teachers[0]
        _check_traps(type(self).__name__, self.entry, [accept] if isinstance(accept, str) else accept, given)
        key, asked = ("stages", stages) if self.entry.pairs else ("stage", [stage])
        self.stages = chosen_stages(asked, len(ours.stages), len(theirs.stages), key=key)
        self.inner = self._inner(given)
        self.projector: nn.Module = nn.Identity()
        if self.entry.on is None:
            widths = (self._feature_width(ours), self._feature_width(theirs))
            self.projector = nn.Identity() if len({*widths}) == 1 else nn.Linear(*widths)

    def forward(self, student: Any, teacher: Any, batch: Batch) -> Tensor:
        """The library's value, computed in float32 or more; 0 where its description says that there is none.

        Args:
            student: The field that the loss is declared on, or `Features`.
            teacher: The same of the teacher; detached.
            batch: The trials, whose labels some losses read.
        """
        pairs = self._pairs(student, teacher)
        label = batch.label.where(batch.label >= 0, _NO_LABEL)
        first = next(iter(pairs.values()))[0]
        if len(first) == 1 and self.entry.several:
            # Zero with a graph, so that a backward pass is possible.
            return 0 * first.sum()
        with without_autocast(first):
            if not self.entry.undefined:
                return self.inner(*self._dictionaries(pairs), label)
            return self._defined(pairs, label)

    def _defined(self, pairs: Pairs, label: Tensor) -> Tensor:
        """The library's value; 0 where it has none, and no gradient to an entry where it has none."""
        ordinary = _are_ordinary(itertools.chain(*pairs.values()))
        safe = {path: (_WithoutNan.apply(s, ordinary), t) for path, (s, t) in pairs.items()}
        value = self.inner(*self._dictionaries(safe), label)
        return value.where(value.isfinite() | ~ordinary, 0)

    def _dictionaries(self, pairs: Pairs) -> tuple[dict[str, Any], dict[str, Any]]:
        # The library asks for what went into a module or came out of it; here they are one.
        ours = {path: {"output": (s, None) if self.entry.tupled else s} for path, (s, _) in pairs.items()}
        return ours, {path: {"output": t} for path, (_, t) in pairs.items()}

    def _pairs(self, student: Any, teacher: Any) -> Pairs:
        """The student's and the teacher's tensors by the paths that the library looks them up under."""
        if self.entry.on == "stages":
            return {str(index): self._aligned(student[index], teacher[index]) for index in self.stages}
        if self.entry.on is not None:
            return {_MAIN: _exact(student, teacher)}
        if "stages" in self.entry.reads:
            maps = (features.stages[self.stages[0]] for features in (student, teacher))
            feature = self._aligned(*maps)
        else:
            feature = _exact(student.embedding, teacher.embedding)
        of_student = self.projector(feature[0].movedim(1, -1)).movedim(-1, 1)
        return {_MAIN: _exact(student.logits, teacher.logits), _FEATURE: (of_student, feature[1])}

    def _aligned(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        maps = align_maps(student, teacher.detach())
        shaped = [_as_image(stage) if self.entry.images else stage for stage in maps]
        return shaped[0].contiguous(), shaped[1].contiguous()

    def _feature_width(self, widths: Widths) -> int:
        return widths.stages[self.stages[0]] if "stages" in self.entry.reads else widths.embedding

    def _inner(self, given: Mapping[str, Any]) -> nn.Module:
        paths = {key: self._filled(key) for key in _parameters(self.library) if _is_ours(key)}
        try:
            return self.library(**paths, **{**self.entry.defaults, **given})
        except Exception as error:
            raise UsageError(
                f"{FAMILY}:{type(self).__name__} refuses {dict(given)}: {type(error).__name__}: {error}",
                hint=f"See its parameters: kdbench describe {FAMILY}:{type(self).__name__}",
            ) from error

    def _filled(self, key: str) -> Any:
        """What the library's constructor is told about the modules."""
        if key == "fsp_pairs":
            if len(self.stages) == 1:
                raise ParameterError(
                    f"{FAMILY}:{type(self).__name__} relates stages to the next ones: name at least two",
                    instead={"stages": [-2, -1]},
                )
            steps = itertools.pairwise(self.stages)
            return {
                f"{first}-{second}": {
                    f"{owner}_{place}": _place(index)
                    for owner in ("student", "teacher")
                    for place, index in (("first", first), ("second", second))
                }
                for first, second in steps
            }
        if key.endswith("_pairs"):
            return {str(index): {"student": _place(index), "teacher": _place(index)} for index in self.stages}
        if key.endswith("_io"):
            return "output"
        if self.entry.on == "stages":
            return str(self.stages[0])
        return _FEATURE if self.entry.on is None and "feature" in key else _MAIN


class _WithoutNan(torch.autograd.Function):
    """Hands a tensor on; an entry of its gradient that is not finite is 0, unless the values have run away."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ordinary: Tensor) -> Tensor:
        ctx.save_for_backward(ordinary)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (ordinary,) = ctx.saved_tensors
        return grads[0].where(grads[0].isfinite() | ~ordinary, 0), None


def _are_ordinary(values: Iterable[Tensor]) -> Tensor:
    """Whether all values are of a size at which nothing overflows: a network that runs away must not look well."""
    return torch.stack([x.detach().abs().amax() < _RUN_AWAY for x in values]).all()


def _place(index: int) -> dict[str, str]:
    return {"path": str(index), "io": "output"}


def _exact(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    return at_least_float32(student), at_least_float32(teacher).detach()


def _as_image(feature: Tensor) -> Tensor:
    """A series as an image of one column, a clip as its mean over time."""
    if feature.dim() < _IMAGE_DIM:
        return feature.unsqueeze(-1)
    return feature.mean(2) if feature.dim() > _IMAGE_DIM else feature


def _is_ours(key: str) -> bool:
    return key.endswith(("_path", "_io", "_pairs"))


def _parameters(library: type[nn.Module]) -> dict[str, inspect.Parameter]:
    """The constructor's named parameters; the library lets any other pass, unused."""
    declared = inspect.signature(library).parameters
    return {key: parameter for key, parameter in declared.items() if parameter.kind is not parameter.VAR_KEYWORD}


def _signature(entry: BridgedLoss, library: type[nn.Module]) -> inspect.Signature:
    """What a recipe may set, for the check of its keys and for `kdbench describe`."""

    def named(key: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
        return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY), named("context", "Context")]
    for key, parameter in _parameters(library).items():
        if not _is_ours(key):
            parameters.append(named(key, parameter.annotation, entry.defaults.get(key, parameter.default)))
    if entry.pairs:
        parameters.append(named("stages", "Sequence[int] | None", None))
    elif "stages" in (entry.on, *entry.reads):
        parameters.append(named("stage", "int", -1))
    if entry.traps:
        parameters.append(named("accept", "str | Sequence[str]", ()))
    return inspect.Signature(parameters)


def _check_traps(name: str, entry: BridgedLoss, accepted: Sequence[str], given: Mapping[str, Any]) -> None:
    known = [trap.name for trap in entry.traps]
    for deviation in accepted:
        if deviation not in known:
            hint = f"See what it does otherwise: kdbench describe {FAMILY}:{name}"
            raise unknown("deviation", deviation, known, of=f"{FAMILY}:{name}", hint=hint)
    for trap in entry.traps:
        if trap.holds(given) and trap.name not in accepted:
            raise UsageError(
                f"{FAMILY}:{name} {trap.why}",
                hint=f"{trap.instead}. Or take it as it is: --set student.losses.{FAMILY}:{name}.accept={trap.name}",
            )


def _description(name: str, entry: BridgedLoss) -> str:
    lines = [f"torchdistill's {name} ({entry.paper}).", entry.differs]
    if entry.undefined:
        lines.append(f"The library has no value or no gradient {entry.undefined}: there, 0 is taken.")
    lines += [f"It {trap.why}; a recipe must say `accept: {trap.name}`. {trap.instead}." for trap in entry.traps]
    return "\n\n".join(line for line in lines if line)
