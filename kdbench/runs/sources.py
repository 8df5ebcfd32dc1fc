"""What the networks of a recipe see of a data set: names that exist, opened with what they need beside the sensors."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from kdbench.data.card import Card, load_card
from kdbench.data.store.open import Dataset, open_dataset
from kdbench.engine.declared import series_read
from kdbench.errors import DataError, UsageError, unknown
from kdbench.network import build_network, check_representations, unfetched
from kdbench.recipes.network_spec import NetworkSpec
from kdbench.recipes.schema import Recipe
from kdbench.registry import registry
from kdbench.types import VIDEO, JointGraph, is_video, view_of


def open_for(
    recipe: Recipe,
    dataset: str,
    *,
    video: str | None,
    data_dir: Path | None,
    exclude_broken: bool,
    progress: bool = True,
    look_ahead: bool = False,
    made: bool = False,
) -> Dataset:
    """Opens a data set with all that the networks of a recipe see.

    Args:
        recipe: The recipe.
        dataset: Name of the data set, or path of a card.
        video: The view that `video` stands for; None for the preferred one that is there.
        data_dir: Where the data sets lie.
        exclude_broken: Leave out trials that are missing or broken.
        progress: Show progress.
        look_ahead: As for `open_dataset`.
        made: The networks are there, as of a finished run: whether their parts fit together was seen when it was made.

    Raises:
        UsageError: A network sees, or a loss reads, what the data set does not have; or an unknown data set, view or
            option.
        DataError: Recordings are missing or broken, or no trial has all that predicts at test.
    """
    card = card_at(dataset, recipe.data.options)
    check_sources(recipe, card)
    if not made:
        _check_fit(recipe, card)
    view: str | None = (video or "auto") if recipe.chooses_view else next(iter(recipe.views), None)
    if view == "auto" and recipe.views and len(card.views) == 1:
        view = next(iter(card.views))
    wanted = dict.fromkeys(recipe.sources(card.sensors))
    for phase, spec in recipe.by_key.items():
        wanted |= dict.fromkeys(series_read(spec.losses, (*card.sensors, *card.skeletons), f"{phase}.losses"))
    beside = [source for source in wanted if source in card.skeletons or view_of(source)]
    if view == "auto" and recipe.views:
        raise UsageError(
            f"'{recipe.title}' sees {' and '.join(f'video:{name}' for name in recipe.views)} and one more view",
            hint=f"Name the one that it sees as 'video': --video {' or '.join(card.views)}",
        )
    data = open_dataset(
        dataset,
        data_dir=data_dir,
        exclude_broken=exclude_broken,
        video=view,
        frame_size=recipe.data.frame_size,
        frames=recipe.data.frames,
        options=recipe.data.options,
        progress=progress,
        look_ahead=look_ahead,
        beside=[source for source in beside if source != f"{VIDEO}:{view}"],
    )
    return _with_what_is_asked(recipe, data)


def _with_what_is_asked(recipe: Recipe, data: Dataset) -> Dataset:
    """The trials that have all that predicts at test; what teachers lack besides is a matter of pairs.

    Raises:
        DataError: There are none.
    """
    asked = {data.source(name) for name in recipe.shown(data.sensors)}
    usable = data.having(asked)
    if not len(usable):
        raise DataError(
            f"no trial of '{data.card.name}' has {' and '.join(sorted(asked))}, which '{recipe.title}' sees at test",
            hint=f"See who has what: kdbench data who {data.card.typed}",
        )
    return usable


def _check_fit(recipe: Recipe, card: Card) -> None:
    """Builds every network once, with random weights, before anything of the data is read.

    Raises:
        UsageError: Their parts do not fit together, or the fusion does not join them.
    """
    channels = {name: len(sensor.axes) for name, sensor in card.sensors.items()}
    channels |= {name: len(skeleton.sensor.axes) for name, skeleton in card.skeletons.items()}
    channels |= {f"{VIDEO}:{name}": view.channels for name, view in card.views.items()}
    channels |= {VIDEO: next(iter(channels[f"{VIDEO}:{name}"] for name in card.views))} if card.views else {}
    skeletons = tuple((name, skeleton.graph) for name, skeleton in card.skeletons.items())
    for phase, spec in recipe.by_key.items():
        check_representations(spec, phase)
        sources = tuple((source, channels[source]) for source in spec.sees(card.sensors))
        _try_to_build(spec.model_dump_json(), phase, sources, len(card.classes), skeletons)


# The methods of a grid share teachers and students, which are large at `paper`.
@functools.lru_cache(maxsize=512)
def _try_to_build(
    spec: str,
    phase: str,
    sources: tuple[tuple[str, int], ...],
    classes: int,
    skeletons: tuple[tuple[str, JointGraph], ...],
) -> None:
    # A network that is thrown away must not move the run's random numbers.
    with torch.random.fork_rng():
        build_network(
            unfetched(NetworkSpec.model_validate_json(spec)),
            sources=dict(sources),
            classes=classes,
            semantic=None,
            role=phase,
            skeletons=dict(skeletons),
        )


def with_sources_as_seen(recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe with its missing sources called as its networks call them: `video` for the view that they are shown.

    Args:
        recipe: As asked for, of which `video:depth` may be missing.
        data: The data set, with its view open.

    Raises:
        UsageError: Another view is missing than the one that is seen, or nothing else is seen.
    """
    shown = recipe.shown(data.sensors)
    missing = tuple(name if name in shown else data.source(name) for name in recipe.without)
    for name in missing:
        if name not in shown:
            raise UsageError(
                f"--without {name}: '{recipe.title}' sees {VIDEO}:{data.view} at test",
                hint=f"Take that away, --without {VIDEO}, or let it see the other view: --video {view_of(name)}",
            )
    _check_something_is_left(recipe, shown, missing)
    return recipe if missing == recipe.without else recipe.model_copy(update={"without": tuple(dict.fromkeys(missing))})


def _check_something_is_left(recipe: Recipe, tested: Collection[str], missing: Collection[str]) -> None:
    if missing and set(tested) <= set(missing):
        raise UsageError(
            f"--without {', '.join(recipe.without)}: that is all that '{recipe.title}' sees at test",
            hint="Leave it at least one source.",
        )


def card_at(dataset: str, options: Mapping[str, Any]) -> Card:
    """The card of a data set with the options of a generated one."""
    card = load_card(dataset)
    made: Card = registry("dataset").get(card.reader)(card, None, options).card
    return made


def check_sources(recipe: Recipe, card: Card) -> None:
    """Refuses a recipe that sees what a data set does not have.

    Raises:
        UsageError: The network, its branch and the near misses are named.
    """
    views = [f"{VIDEO}:{view}" for view in card.views]
    series = [*card.sensors, *card.skeletons]
    known = [*series, *([VIDEO] if views else []), *views]
    tested = recipe.shown(card.sensors)
    for name in recipe.without:
        if name not in tested and not (name in views and VIDEO in tested):
            raise unknown(
                "source",
                name,
                tested,
                of=f"--without: what '{recipe.title}' sees at test",
                hint="Name one of these, or leave --without out.",
            )
    _check_something_is_left(recipe, tested, recipe.without)
    for phase, spec in recipe.by_key.items():
        for name, branch in spec.branches_for(card.sensors).items():
            if branch.sees in known:
                continue
            if spec.branches is not None:
                raise unknown(
                    "source",
                    branch.sees,
                    known,
                    of=f"{phase}.branches.{name}.sees in '{card.name}'",
                    hint=f"Let it see another: --set {phase}.branches.{name}.sees=…, or choose another data set.",
                )
            if not is_video(branch.sees):
                expected = ", ".join(series)
                # One of several of its kind: `accelerometer_watch`.
                near = [one for one in series if one.startswith(branch.sees)] or series[:1]
                ways = " or ".join(f"--set {phase}.sensors='[{one}]'" for one in near)
                raise UsageError(
                    f"{phase}.sensors: {card.name} has no sensor '{branch.sees}', expected {expected}",
                    hint=f"Name those that it sees: {ways or f'--set {phase}.sensors=[]'}",
                )
