"""Messages on names that do not exist."""

from __future__ import annotations

from kdbench.errors import near_misses, unknown

MANY = [f"method_{number}" for number in range(100)]


def test_few_names_are_listed_and_many_are_counted_where_a_command_lists_them() -> None:
    assert unknown("loss", "x", ["rkd", "at"]).message == "unknown loss 'x' (known: at, rkd)"
    assert unknown("loss", "x", MANY, hint="kdbench list losses").message == "unknown loss 'x' (100 are known)"
    assert "method_99" in unknown("loss", "x", MANY).message


def test_a_name_in_another_case_is_a_near_miss() -> None:
    assert near_misses("RKD", ["ce", "rkd", "rkd_raw"]).startswith("; did you mean 'rkd'?")


def test_near_misses_come_first() -> None:
    assert "did you mean 'method_7'" in unknown("method", "metod_7", ["method_7", "other"]).message
