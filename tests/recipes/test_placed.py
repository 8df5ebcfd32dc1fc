"""Errors of a part, told with the keys of the recipe that it stands in."""

from __future__ import annotations

from kdbench.errors import ParameterError, UsageError, unknown_value
from kdbench.recipes.placed import hint_at, placed


def _part(channels: int, *, widths: tuple[int, ...] = (8, 16), norm: str = "batch", hidden: int | None = None) -> None:
    """A part, for its signature."""


def test_a_default_is_offered_where_the_recipe_can_set_it() -> None:
    error = ParameterError("part: widths = [0], expected positive ones", "widths")
    assert error.hint == "Leave widths out for its default."
    told = placed(error, "student.encoder", "part", _part)
    assert told.message == "student.encoder 'part': widths = [0], expected positive ones"
    assert told.hint == "For example: --set 'student.encoder.widths=[8,16]'"
    assert type(told) is ParameterError


def test_what_a_part_offers_comes_before_its_default() -> None:
    error = ParameterError("dropout has no effect without hidden", "norm", instead={"hidden": 64})
    assert error.hint == "For example: hidden=64"
    told = placed(error, "teacher.fusion", "part", _part)
    assert told.hint == "For example: --set teacher.fusion.norm=batch --set teacher.fusion.hidden=64"


def test_the_near_miss_of_a_word_is_offered() -> None:
    error = unknown_value("norm", "gruop", ("batch", "group"), of="part")
    assert str(error).startswith("unknown norm of part 'gruop'; did you mean 'group'? (known: batch, group)")
    assert hint_at(error, "student.encoder", "part", _part) == "For example: --set student.encoder.norm=group"
    far = unknown_value("norm", None, ("batch", "group"), of="part")
    assert hint_at(far, "student.encoder", "part", _part) == "For example: --set student.encoder.norm=batch"


def test_null_is_written_as_yaml_has_it() -> None:
    assert hint_at(ParameterError("…", "hidden"), "a", "part", _part) == "For example: --set a.hidden=null"


def test_a_parameter_that_is_handed_on_leads_to_the_description() -> None:
    error = ParameterError("…", "kernel")
    assert hint_at(error, "a", "frames:part", _part) == "See its parameters: kdbench describe frames:part"


def test_an_error_of_a_class_of_ones_own_is_told_too() -> None:
    class OddWidth(UsageError):
        def __init__(self, width: int) -> None:
            super().__init__(f"width = {width} is odd", hint="Take an even one.")

    told = placed(OddWidth(3), "student.encoder", "part", _part)
    assert str(told) == "student.encoder 'part': width = 3 is odd\nTake an even one."
    assert type(told) is UsageError


def test_other_hints_stay() -> None:
    error = UsageError("weights: there is no file a.pth", hint="Name a file.")
    told = placed(error, "student.encoder", "part", _part)
    assert str(told) == "student.encoder 'part': weights: there is no file a.pth\nName a file."
