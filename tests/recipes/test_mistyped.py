"""Values of another type than a part takes, told by what it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

from kdbench.recipes.mistyped import mistyped


class _Part:
    def __init__(
        self,
        channels: int,
        *,
        hidden: int | None = 8,
        share: float = 0.5,
        relu: bool = True,
        widths: Sequence[int] = (1, 2),
        maps_of: str | None = None,
        norm: Literal["batch", "group"] = "batch",
        **others: Any,
    ) -> None:
        """A part, for its signature."""


@pytest.mark.parametrize(
    ("params", "told", "hint"),
    [
        ({"hidden": "many"}, "a.b.hidden = 'many', expected a whole number or null", "--set a.b.hidden=8"),
        ({"hidden": 2.5}, "a.b.hidden = 2.5, expected a whole number or null", "--set a.b.hidden=8"),
        ({"hidden": True}, "a.b.hidden = True, expected a whole number or null", "--set a.b.hidden=8"),
        ({"relu": 1}, "a.b.relu = 1, expected true or false", "--set a.b.relu=true"),
        ({"share": None}, "a.b.share = None, expected a number", "--set a.b.share=0.5"),
        ({"widths": 3}, "a.b.widths = 3, expected a list of whole numbers", "--set 'a.b.widths=[1,2]'"),
        ({"widths": [1, "2"]}, "a.b.widths = [1, '2'], expected a list of whole numbers", "--set 'a.b.widths=[1,2]'"),
        ({"maps_of": 3}, "a.b.maps_of = 3, expected text or null", "--set a.b.maps_of=null"),
    ],
)
def test_the_parameter_is_named_with_what_it_takes(params: dict[str, Any], told: str, hint: str) -> None:
    error = mistyped(_Part, {"share": 1, **params}, "a.b", "part")
    assert error is not None
    assert error.message == told
    assert error.hint == f"For example: {hint}"


@pytest.mark.parametrize(
    "params", [{}, {"hidden": None, "share": 1, "widths": [3]}, {"norm": "layer"}, {"others": 3}, {"unheard_of": 3}]
)
def test_what_may_be_right_is_not_blamed(params: dict[str, Any]) -> None:
    assert mistyped(_Part, params, "a.b", "part") is None
