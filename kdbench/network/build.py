"""From a network's recipe to the network: every part by its name, and whether the parts fit together."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kdbench.encoders.projected import ProjectedEncoder
from kdbench.errors import KdbenchError, UsageError, unknown
from kdbench.fusions.base import STAGES, Shape
from kdbench.network.network import Branch, Network
from kdbench.recipes.mistyped import mistyped
from kdbench.recipes.network_spec import BranchSpec, NetworkSpec
from kdbench.recipes.placed import placed
from kdbench.recipes.terms import PartSpec
from kdbench.registry import part_of, registry
from kdbench.representations.native import takes_native
from kdbench.types import SENSORS, VIDEO, JointGraph, is_video, view_of

_FOR_WHO_ASKS = ("skeleton", "skeletons")


def unfetched(spec: NetworkSpec) -> NetworkSpec:
    """A recipe with random weights in place of pretrained ones, which would be fetched; a file of weights stays."""

    def random(encoder: PartSpec) -> PartSpec:
        parameter = inspect.signature(registry("encoder").get(encoder.name)).parameters.get("weights")
        if parameter is None or encoder.params.get("weights", parameter.default) != "pretrained":
            return encoder
        return PartSpec(name=encoder.name, **encoder.params | {"weights": "random"})

    return spec.with_encoders(random)


def build_network(
    spec: NetworkSpec,
    *,
    sources: Mapping[str, int],
    classes: int,
    semantic: int | None,
    groups: int | None = None,
    role: str = "",
    view: str | None = None,
    skeletons: Mapping[str, JointGraph] | None = None,
    head_width: int | None = None,
) -> Network:
    """Builds a network and checks that its parts fit together.

    Parameters are drawn from torch's global generator in a fixed order: the branches in their order, the fusion, the
    classifiers, the semantic projections, the group heads. Seed before calling.

    Args:
        spec: The network's part of a recipe.
        sources: Raw channels of what it sees, in the order of its branches: axes of a sensor or of a skeleton's joints,
            channels of `video` and `video:NAME`.
        classes: K.
        semantic: S, the width of the label vectors, or None.
        groups: G, the number of groups of classes, or None.
        role: `teacher` or `student`; error messages put it before the recipe's keys.
        view: The view that `video` stands for.
        skeletons: The data set's, for parts that go along bones.
        head_width: Width of the teacher's embedding, where the network takes over its head.

    Raises:
        UsageError: Unknown parts or parameters, or parts that do not fit: what a representation makes and what the
            encoder takes; branches that the fusion does not join; a fusion that couples the batch and an encoder or a
            pooling with BatchNorm; joints to be turned where no skeleton is seen; sources that are dropped where there
            is one.
    """
    if not sources:
        raise UsageError(
            f"{_key(role, 'branches')}: the network sees nothing", hint="Name sources: kdbench list datasets"
        )
    skeletons = skeletons or {}
    _check_turned(spec, sources, skeletons, role)
    Fuse = registry("fusion").get(spec.fusion.name)
    branches: dict[str, Branch] = {}
    for name, branch in spec.branches_for(sources).items():
        place = _place(spec, role, name)
        # A network of the one view is called as that view is.
        shown = view or name if spec.branches is None and branch.sees == VIDEO else name
        # The view that the run chose is `video`, also where a branch calls it by its name.
        canonical = VIDEO if view is not None and view_of(branch.sees) == view else branch.sees
        skeleton = skeletons.get(branch.sees)
        built = replace(_branch(branch, sources[branch.sees], place, skeleton, skeletons), sees=canonical)
        if spec.head is not None and head_width is not None:
            encoder = ProjectedEncoder(built.encoder, head_width, kind=built.kind, factor=spec.head.factor)
            built = replace(built, encoder=encoder)
        branches[shown] = built
    shapes = [
        Shape(name, tuple(branch.encoder.channels), branch.width, branch.kind, branch.encoder.stem_channels)
        for name, branch in branches.items()
    ]
    _check_joins(Fuse, spec, shapes, role)
    fusion = _construct(Fuse, spec.fusion, role, shapes, kind="fusion")
    if fusion.couples_batch:
        where = f"{_key(role, 'fusion')} '{spec.fusion.name}'"
        for (name, branch), built in zip(spec.branches_for(sources).items(), branches.values(), strict=True):
            _check_coupled(where, _place(spec, role, name), branch, built)
    network = Network(branches, fusion, classes=classes, semantic=semantic, groups=groups, skeletons=skeletons)
    if spec.drop_sources and len(set(network.sees.values())) < 2:
        raise UsageError(
            f"{_key(role, 'drop_sources')} = {spec.drop_sources:g} has no effect: the network sees one source",
            hint="One source of every trial stays: take a network that sees several, written as branches.",
        )
    network.drop_sources = spec.drop_sources
    network.checkpointing = spec.train.checkpointing
    return network


def _branch(
    spec: BranchSpec, channels: int, place: str, skeleton: JointGraph | None, skeletons: Mapping[str, JointGraph]
) -> Branch:
    """One branch as built; `place` is where it stands in the recipe."""
    Represent, Encode = (
        registry("representation").get(spec.representation.name),
        registry("encoder").get(spec.encoder.name),
    )
    _check_fit(spec, Represent, Encode, place)
    given = {"statistics": Encode.statistics, "skeleton": skeleton}
    representation = _construct(Represent, spec.representation, place, channels, given=given, kind="representation")
    encoder = _construct(
        Encode,
        spec.encoder,
        place,
        representation.out_channels,
        given={"skeleton": skeleton, "skeletons": skeletons},
        kind="encoder",
    )
    pooling = None
    if spec.pooling is not None:
        Pool = registry("pooling").get(spec.pooling.name)
        pooling = _construct(Pool, spec.pooling, place, encoder.token_width, kind="pooling")
    eats, is_native = part_of(Encode).declares["eats"], takes_native(spec.representation)
    return Branch(spec.sees, representation, encoder, pooling, eats, is_native)


def _check_turned(
    spec: NetworkSpec, sources: Mapping[str, int], skeletons: Mapping[str, JointGraph], role: str
) -> None:
    """Refuses to turn joints that are not seen."""
    branches = spec.branches_for(sources)
    seen = {_key(role, f"branches.{name}"): (b.augment, [b.sees]) for name, b in branches.items() if b.augment}
    seen[role] = spec.augment, [b.sees for b in branches.values() if b.augment is None]
    for place, (augment, shown) in seen.items():
        if augment.turn_deg > 0 and not skeletons.keys() & set(shown):
            raise UsageError(
                f"{_key(place, 'augment.turn_deg')} = {augment.turn_deg:g} turns the joints of a skeleton, and what is "
                f"seen there is {', '.join(shown) or 'changed otherwise by its branch'}",
                hint="Frames are turned by rotate_deg.",
            )


def _check_joins(Fuse: Any, spec: NetworkSpec, shapes: Sequence[Shape], role: str) -> None:
    """Refuses branches that a fusion does not join."""
    where = f"{_key(role, 'fusion')} '{spec.fusion.name}'"
    shallow = [shape.name for shape in shapes if len(shape.channels) < STAGES]
    if Fuse.acts_between_stages and shallow:
        raise UsageError(
            f"{where} acts between {STAGES} stages, and the encoder of {' and '.join(shallow)} has fewer",
            hint=f"Fusions after the last stage: {_names('fusion', lambda part: not part.acts_between_stages)}",
        )
    first = shapes[0]
    if Fuse.joins == "widths" and any(shape.width != first.width for shape in shapes):
        widths = ", ".join(f"{shape.name} {shape.width}" for shape in shapes)
        raise UsageError(
            f"{where} joins embeddings of one width, and those of the branches have {widths}",
            hint=f"Fusions of any branches: {_names('fusion', lambda part: part.joins == 'any')}",
        )
    # Branches of one architecture differ in their names alone.
    if Fuse.joins == "alike" and any(replace(shape, name="") != replace(first, name="") for shape in shapes):
        words = "; ".join(f"{s.name}: {s.kind}, channels {list(s.channels)}, width {s.width}" for s in shapes)
        raise UsageError(
            f"{where} joins branches of one architecture, and these are unlike ({words})",
            hint=f"Fusions of unlike branches: {_names('fusion', lambda part: part.joins == 'any')}",
        )


def _check_coupled(fusion: str, place: str, spec: BranchSpec, branch: Branch) -> None:
    """Refuses a branch with BatchNorm below a fusion that couples the batch; `place` is where the branch stands."""
    for kind, part, built in (("encoder", spec.encoder, branch.encoder), ("pooling", spec.pooling, branch.pooling)):
        if part is not None and built is not None and built.normalisation == "batch":
            raise UsageError(
                f"{fusion} couples the batch and {_key(place, kind)} '{part.name}' normalises by BatchNorm: together "
                "they tie each prediction to its batch twice",
                hint=f"Normalise per sample, for example --set {_key(place, 'encoder.norm')}=group"
                if kind == "encoder"
                else "See what there is: kdbench list poolings",
            )


def _place(spec: NetworkSpec, role: str, branch: str) -> str:
    """The recipe's key of a branch; that of the network where its parts stand for all branches."""
    return role if spec.branches is None else _key(role, f"branches.{branch}")


def _key(role: str, key: str) -> str:
    return f"{role}.{key}" if role else key


def _check_fit(spec: BranchSpec, represent: Any, encode: Any, place: str) -> None:
    modality, wanted = part_of(represent).declares["modality"], VIDEO if is_video(spec.sees) else SENSORS
    if modality != wanted:
        fitting = _names("representation", lambda part: part_of(part).declares["modality"] == wanted)
        raise UsageError(
            f"{_key(place, 'representation')} '{spec.representation.name}' is for {modality}, and the network sees "
            f"{wanted} there",
            hint=f"Representations of {wanted}: {fitting}",
        )
    eats = part_of(encode).declares["eats"]
    if represent.makes != eats:
        encoders = _names("encoder", lambda part: part_of(part).declares["eats"] == represent.makes)
        makers = _names("representation", lambda part: part.makes == eats)
        raise UsageError(
            f"{_key(place, 'encoder')} '{spec.encoder.name}' takes {eats}, and {_key(place, 'representation')} "
            f"'{spec.representation.name}' makes {represent.makes}",
            hint=f"Encoders that take {represent.makes}: {encoders}. Representations that make {eats}: {makers}.",
        )


def check_representations(spec: NetworkSpec, role: str) -> None:
    """Checks the names of the representations' parameters, before any data are read.

    Args:
        spec: The network's part of a recipe.
        role: As for `build_network`.

    Raises:
        UsageError: A representation has no such parameter; those that have it are named.
    """
    for branch in spec.kinds:
        Represent = registry("representation").get(branch.representation.name)
        # The first parameter is the number of channels, whatever its author calls it.
        filled = [next(iter(inspect.signature(Represent).parameters), ""), "statistics", "skeleton"]
        _check_keys(Represent, branch.representation, _key(role, "representation"), "representation", filled)


def _check_keys(component: Any, spec: PartSpec, path: str, kind: str, filled: Sequence[str]) -> None:
    """Refuses parameters that a part does not have, or that the framework fills; `path` is its key in the recipe."""
    parameters = inspect.signature(component).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    open_keys = [p.name for p in parameters if p.name not in filled]
    for key in spec.params:
        if key not in open_keys:
            known = [f"{path}.{name}" for name in open_keys]
            raise unknown("recipe key", f"{path}.{key}", known, hint=_owners_of(key, kind, spec.name))


def _owners_of(key: str, kind: str, name: str) -> str:
    """Which part was named, and which others have the parameter that it lacks."""
    having_it = ((other, inspect.signature(part).parameters.get(key)) for other, part in registry(kind).components())
    others = [other for other, found in having_it if found is not None and found.default is not found.empty]
    having = f" {key} is a parameter of {', '.join(others)}." if others else ""
    return f"The {kind} is '{name}'.{having}"


def _names(kind: str, fits: Any) -> str:
    return ", ".join(name for name, part in registry(kind).components() if fits(part)) or "none"


def _construct(
    component: Any, spec: PartSpec, role: str, *arguments: Any, kind: str, given: Mapping[str, Any] | None = None
) -> Any:
    path, parameters = _key(role, kind), list(inspect.signature(component).parameters.values())
    taken = {parameter.name for parameter in parameters}
    # A skeleton, or all that the data set has, is for those parts that ask for it.
    given = {key: value for key, value in (given or {}).items() if key in taken or key not in _FOR_WHO_ASKS}
    _check_keys(component, spec, path, kind=kind, filled=[p.name for p in parameters[: len(arguments)]] + [*given])
    try:
        return component(*arguments, **given, **spec.params)
    except KdbenchError as error:
        raise placed(error, path, spec.name, component) from error
    except Exception as error:
        # Whatever a value of another type leads to: it may be anyone's code.
        if (told := mistyped(component, spec.params, path, spec.name)) is not None:
            raise told from error
        if not isinstance(error, TypeError | ValueError):
            raise
        raise UsageError(
            f"{path} '{spec.name}' cannot be built with {spec.params or 'its defaults'}: {error}",
            hint=f"See its parameters: kdbench describe {spec.name}",
        ) from error
