"""The knobs of the data set: which values they take, and the card that follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from kdbench.data.card import Card, Trials
from kdbench.data.protocol import ProtocolRule, Validation, Value
from kdbench.data.readers.motionsim.actions import ACTIONS
from kdbench.data.readers.motionsim.render import CAMERAS
from kdbench.data.readers.motionsim.wearables import WORN, sensors
from kdbench.errors import UsageError, unknown

_COUNTS: dict[str, tuple[int, float]] = {
    "actions": (2, len(ACTIONS)),
    "subjects": (2, math.inf),
    "trials": (1, math.inf),
    "seed": (0, math.inf),
    "cameras": (1, len(CAMERAS)),
}

# All cameras share a performance's sensors: a validation part takes it whole or not at all.
_WHOLE = Validation(share=0.25, whole="performance")


def check_options(options: Mapping[str, Any]) -> None:
    """Checks every knob.

    Raises:
        UsageError: One has no such value; the values that it takes are named.
    """
    for name, (least, most) in _COUNTS.items():
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            limits = f"of at least {least}" if most == math.inf else f"from {least} to {most}"
            raise _refused(name, value, f"a whole number {limits}")
    for name, below in (("noise", math.inf), ("occlusion", 1)):
        value = options[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < below:
            raise _refused(name, value, "a number of at least 0" + ("" if below == math.inf else f" and below {below}"))
    if options["sensors"] not in WORN:
        raise unknown(
            "set of sensors of motionsim",
            str(options["sensors"]),
            WORN,
            hint="Name one of them: --set data.options.sensors=NAME",
        )


def _refused(name: str, value: Any, expected: str) -> UsageError:
    return UsageError(
        f"option '{name}' of data set 'motionsim' is {value!r}, expected {expected}",
        hint="See its sizes: kdbench describe motionsim",
    )


def sized(card: Card, options: Mapping[str, Any]) -> Card:
    """The card for other knobs than its own; the protocols keep their rule.

    Args:
        card: The shipped card.
        options: Every knob, checked.
    """
    people, turns = tuple(range(1, options["subjects"] + 1)), tuple(range(1, options["trials"] + 1))
    cameras = tuple(range(1, options["cameras"] + 1))
    columns: dict[str, tuple[Value, ...]] = {
        "action": tuple(range(1, options["actions"] + 1)),
        "subject": people,
        "repetition": turns,
    }
    name = "a{action}_s{subject}_t{repetition}"
    protocols = _protocols(card, people, turns)
    if len(cameras) > 1:
        name, columns = f"{name}_c{{camera}}", columns | {"camera": cameras}
        protocols["cross_view"] = ProtocolRule(
            title="The last camera tests, the others train: the same performances, so the sensors leak entirely",
            test={"camera": cameras[-1:]},
            validation=_WHOLE,
            sensors_leak=True,
        )
        specific = protocols.get("subject_specific")
        if specific is not None:
            protocols["subject_specific"] = specific.model_copy(update={"validation": _WHOLE})
    changes = {
        "classes": card.classes[: options["actions"]],
        "trials": Trials(id=name, columns=columns, label="action"),
        "sensors": sensors(WORN[options["sensors"]]),
        "protocols": protocols,
    }
    result = card.model_copy(update=changes)
    result._folder = card.folder
    return result


def _protocols(card: Card, people: tuple[int, ...], turns: tuple[int, ...]) -> dict[str, ProtocolRule]:
    odd, half = people[::2], (len(turns) + 1) // 2
    changes: dict[str, dict[str, Any]] = {
        "cross_subject": {
            "train": {"subject": odd},
            "test": {"subject": people[1::2]},
            "validation": Validation(where={"subject": odd[-1:]}),
        },
        "subject_specific": {"train": {"repetition": turns[:half]}, "test": {"repetition": turns[half:]}},
        "loso_{subject}": {"each": {"subject": people}},
    }
    return {name: rule.model_copy(update=changes.get(name, {})) for name, rule in card.protocols.items()}
