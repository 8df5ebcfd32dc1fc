"""What a fusion is: how the branches of a network meet, between or after their stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from kdbench.errors import UsageError, unknown

Maps: TypeAlias = tuple[Tensor, ...]
Rebuilt: TypeAlias = tuple[Maps, Tensor, Tensor, Tensor]
"""What a joint fusion hands out that rebuilds tokens: maps, an embedding, what the group heads see, and errors."""
Joined: TypeAlias = tuple[Maps, Tensor] | tuple[Maps, Tensor, Tensor] | Rebuilt
"""What a joint fusion hands out: maps, an embedding, and what the group heads see if that is another feature."""
STAGES = 4
"""Stages of the encoders that a fusion between stages, and losses on stages, ask for."""


@dataclass(frozen=True)
class Shape:
    """What a branch hands out.

    Attributes:
        name: The branch.
        channels: Channels of the map of each stage.
        width: D, the width of its embedding.
        kind: What its maps are of: `series`, `image` or `clip`.
        stem: Channels of what its stem gives; 0 where no fusion may act on it.
    """

    name: str
    channels: tuple[int, ...]
    width: int
    kind: str = "series"
    stem: int = 0

    def has_maps_like(self, other: Shape) -> bool:
        """Whether the maps of both have as many axes and channels."""
        return (self.channels, self.kind) == (other.channels, other.kind)


def alike(channels: Sequence[int], sources: int, width: int, kind: str = "series") -> tuple[Shape, ...]:
    """The shapes of branches of one architecture, named `branch_1`, `branch_2`, ….

    Args:
        channels: C_1 … C_4.
        sources: m, how many branches there are.
        width: D.
        kind: What the maps are of.
    """
    return tuple(Shape(f"branch_{number + 1}", tuple(channels), width, kind) for number in range(sources))


class Fusion(nn.Module):
    """Joins the branches of a network; this base leaves them apart.

    Subclasses take the shapes of the branches and their own keyword parameters, which recipes set.

    Args:
        shapes: What each branch hands out.

    Attributes:
        joins: Which branches it takes: `any`; `widths`, those whose embeddings are equally wide; or `alike`, those of
            one architecture. Another set of branches is refused before it is built.
        acts_between_stages: Whether it changes maps between stages, so that the encoders need all four of them.
        couples_batch: A row's output depends on the other rows of the batch, in eval mode too.
        normalisation: As of an encoder: `batch` where BatchNorm ties a row to its batch while the network trains.
        constant_batch_invariant: In a batch of equal rows each gets what it would get alone.
        averages: What is averaged over branches that keep a head each: `probabilities` or `logits`.
        group_head: What tells groups of classes apart: `hidden`, two layers, or `linear`, one.
        joint: The branches end in one head over joined embeddings, as one branch; see `JointFusion`.
        sees_missing: `after` is also given `present` `(B, m)`, whether each branch has its source: a source that is
            missing is zero throughout.
        channels: C_1 … C_4 of the first branch; of every one where they are alike.
        sources: m, the number of branches.
        width: D of the first branch; of every one under `widths` and `alike`.
    """

    joins: ClassVar[Literal["any", "widths", "alike"]] = "alike"
    acts_between_stages: bool = True
    couples_batch: bool = False
    normalisation: Literal["batch", "sample"] = "sample"
    constant_batch_invariant: bool = True
    averages: Literal["probabilities", "logits"] = "probabilities"
    group_head: Literal["hidden", "linear"] = "hidden"
    joint: bool = False
    sees_missing: bool = False

    def __init__(self, shapes: Sequence[Shape]) -> None:
        super().__init__()
        self.shapes = tuple(shapes)
        self.channels = self.shapes[0].channels
        self.sources = len(self.shapes)
        self.width = self.shapes[0].width

    @property
    def out_shapes(self) -> tuple[Shape, ...]:
        """What each branch hands out after the fusion; one shape where it is joint."""
        return self.shapes

    def after_stem(self, maps: list[Tensor]) -> list[Tensor]:
        """Called with what the stems give; what it returns enters the first stage. By default nothing changes.

        Args:
            maps: One map `(B, C, *grid)` per branch.

        Returns:
            Maps of the same shapes.
        """
        return maps

    def between(self, stage: int, maps: list[Tensor]) -> list[Tensor]:  # noqa: ARG002
        """Called after stages 0, 1 and 2 with the branches' maps; what it returns enters the next stage.

        Args:
            stage: Index of the stage that has just run.
            maps: One map `(B, C, *grid)` per branch.

        Returns:
            Maps of the same shapes.
        """
        return maps

    def last(self, maps: list[Tensor]) -> list[Tensor]:
        """Called after the last stage with the branches' maps; what it returns is pooled. By default nothing changes.

        Args:
            maps: One map `(B, C_4, *grid)` per branch.

        Returns:
            Maps of the same shapes.
        """
        return maps

    def embedded(self, embeddings: list[Tensor]) -> list[Tensor]:
        """Called with the branches' embeddings, where each keeps its head; by default nothing changes.

        Args:
            embeddings: One `(B, D)` per branch.

        Returns:
            What the heads take, of the widths of `out_shapes`.
        """
        return embeddings

    def after(self, stages: list[tuple[Tensor, ...]], embeddings: list[Tensor]) -> Joined:
        """Called once after the last stage, only where `joint` is true.

        Args:
            stages: The maps of each branch, as `between` left them.
            embeddings: The pooled last map `(B, D)` of each branch.

        Returns:
            Maps `(B, C_i, *grid)` and an embedding `(B, D)` of `out_shapes` and, where the heads that tell groups of
            classes apart see another feature than the embedding, that one `(B, auxiliary_width)`; behind it, where
            `rebuilt_tokens` is above 0, the errors `(B, rebuilt_tokens)` of the tokens that it took away in this step,
            0 elsewhere.
        """
        raise NotImplementedError(f"{type(self).__name__} declares joint = True and does not define after()")

    @property
    def shared_projections(self) -> tuple[nn.Linear, ...]:
        """Its linear layers from each embedding to a space that all branches share, which losses may read."""
        return ()

    @property
    def rebuilt_tokens(self) -> int:
        """How many tokens a trial has of which it rebuilds those that are missing; 0 where it rebuilds none."""
        return 0

    @property
    def auxiliary_width(self) -> int:
        """Width of what the group heads see."""
        return self.out_shapes[0].width


class JointFusion(Fusion):
    """Joins the branches after their last stage, under one head.

    The maps of branches that are alike are joined as the embeddings are. Those of unlike branches cannot be: the
    network then hands out the maps of the branch `maps_of`, or none.

    Args:
        shapes: What each branch hands out.
        maps_of: The branch whose maps losses see; null joins the maps of branches that are alike.

    Raises:
        UsageError: There is no such branch.
    """

    joins: ClassVar[Literal["any", "widths", "alike"]] = "any"
    acts_between_stages = False
    joint = True

    def __init__(self, shapes: Sequence[Shape], *, maps_of: str | None = None) -> None:
        super().__init__(shapes)
        names = [shape.name for shape in self.shapes]
        if maps_of is not None and maps_of not in names:
            raise unknown(
                "branch",
                maps_of,
                names,
                of="fusion.maps_of",
                hint="Name the branch whose maps losses compare, or leave maps_of out where none compares maps.",
            )
        self._maps_of = None if maps_of is None else names.index(maps_of)
        self.maps_are_alike = all(shape.has_maps_like(self.shapes[0]) for shape in self.shapes)

    def joined_channels(self) -> tuple[int, ...]:
        """Channels of the joined maps of branches that are alike; by default those of a branch."""
        return self.channels

    def joined_width(self) -> int:
        """D of the joined embedding; by default that of a branch."""
        return self.width

    @property
    def out_shapes(self) -> tuple[Shape, ...]:
        """The one shape of the joined branch."""
        name, width = "+".join(shape.name for shape in self.shapes), self.joined_width()
        if self._maps_of is not None:
            chosen = self.shapes[self._maps_of]
            return (Shape(name, chosen.channels, width, chosen.kind),)
        channels = self.joined_channels() if self.maps_are_alike else ()
        return (Shape(name, channels, width, self.shapes[0].kind),)

    def joined_maps(
        self, stages: Sequence[Sequence[Tensor]], join: Callable[[Sequence[Tensor]], Tensor]
    ) -> tuple[Tensor, ...]:
        """The maps that the network hands out.

        Args:
            stages: The maps of each branch.
            join: Joins the branches' maps of one stage.

        Raises:
            UsageError: The branches are alike and see pictures or series of unlike sizes.
        """
        if self._maps_of is not None:
            return tuple(stages[self._maps_of])
        if not self.maps_are_alike:
            return ()
        for maps in zip(*stages, strict=True):
            if len({x.shape[2:] for x in maps}) > 1:
                sizes = ", ".join("×".join(map(str, x.shape[2:])) for x in maps)
                raise UsageError(
                    f"the branches' maps have unlike sizes ({sizes}), so they cannot be joined",
                    hint="Name the branch whose maps losses see: fusion.maps_of, for example "
                    f"maps_of: {self.shapes[0].name}",
                )
        return tuple(join(maps) for maps in zip(*stages, strict=True))
