from __future__ import annotations

from pathlib import Path

import pytest
from recordings import write_card

from kdbench.data.card import load_card
from kdbench.data.readers.base import grid, natural_key
from kdbench.data.readers.utd_mhad import UtdMhad
from kdbench.data.store import manifest
from kdbench.errors import UsageError


def test_the_card_of_utd_mhad_lists_its_861_trials_in_natural_order():
    card = load_card("utd_mhad")
    trials = [trial.id for trial in grid(card)]
    assert len(trials) == 861
    assert not {"a8_s1_t4", "a23_s6_t4", "a27_s8_t4"} & set(trials)
    assert trials[:5] == ["a1_s1_t1", "a1_s1_t2", "a1_s1_t3", "a1_s1_t4", "a1_s2_t1"]
    assert trials.index("a2_s1_t1") < trials.index("a10_s1_t1")


def test_the_card_of_utd_mhad_names_27_different_classes_and_both_sensors():
    card = load_card("utd_mhad")
    assert len(set(card.class_names)) == len(set(card.short_names)) == 27
    assert card.class_names[23:25] == ("sit to stand", "stand to sit")
    assert [(s.unit, s.rate_hz, s.axes) for s in card.sensors.values()] == [
        ("g", 50, ("x", "y", "z")),
        ("deg/s", 50, ("x", "y", "z")),
    ]
    assert list(card.views) == ["rgb", "depth", "skeleton"]
    assert "cited" in card.licence
    assert card.download is not None
    assert all(archive.urls[0].startswith("https:") for archive in card.download.archives)


def test_the_groups_of_utd_mhad_are_those_of_mumus_port():
    card = load_card("utd_mhad")
    actions = {name: [] for name in card.group_names}
    for number, group in enumerate(card.class_groups, start=1):
        actions[card.group_names[group]].append(number)
    assert list(actions.values()) == [
        [1, 2, 3, 4, 5, 6],
        [7, 12, 13, 14, 15, 17],
        [8, 9, 10, 11],
        [16, 18, 19, 20, 21],
        [22, 23, 24, 25, 26, 27],
    ]


def test_a_card_may_do_without_groups(tmp_path: Path):
    card = load_card(write_card(tmp_path, classes=[{"name": n, "short": n} for n in "abc"]))
    assert card.group_names == card.class_groups == ()


def test_the_manifest_holds_every_inertial_depth_and_skeleton_file():
    card = load_card("utd_mhad")
    listed = manifest.load(card)
    reader = UtdMhad(card, Path())
    needed = {path for trial in grid(card) for path in reader.files(trial, "depth")}
    assert len(needed) == 2 * 861
    assert needed <= set(listed)
    assert sum(path.startswith("Skeleton/") for path in listed) == 862


def test_the_real_folder_is_what_card_and_manifest_say(data_dir: Path):
    card = load_card("utd_mhad")
    found = {
        str(path.relative_to(data_dir / "utd_mhad")) for path in (data_dir / "utd_mhad").rglob("*") if path.is_file()
    }
    assert found == set(manifest.load(card))


def test_an_unknown_name_gets_the_near_miss():
    with pytest.raises(UsageError, match="unknown data set 'utd_mahd'; did you mean 'utd_mhad'"):
        load_card("utd_mahd")


def test_a_missing_card_file_is_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no card file .*own\.yaml"):
        load_card(tmp_path / "own.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"reader": None}, "reader is missing"),
        ({"reader": "filse"}, "unknown reader in the card .* 'filse'; did you mean 'files'"),
        (
            {"trials": {"id": "a{action}", "columns": {"action": 3, "subject": 2}, "label": "action"}},
            "they have to agree",
        ),
        ({"trials": {"id": "a{action}", "columns": {"action": 3}, "label": "activity"}}, "expected one of the columns"),
        ({"trials": {"id": "a{action}", "columns": {"action": 4}, "label": "action"}}, "3 classes for 4 values"),
        (
            {"classes": [{"name": n, "short": n, **({"group": "g"} if n != "b" else {})} for n in "abc"]},
            "classes without a group: b; give every class one, or none",
        ),
        (
            {"classes": [{"name": n, "short": n, "group": ""} for n in "abc"]},
            "classes.0.group = .*: expected at least 1 character",
        ),
        (
            {"protocols": {"p": {"test": {"subject": [1]}, "validation": {"share": 0.5, "draw": {"subject": 1}}}}},
            "exactly one of where, draw and share",
        ),
        (
            {
                "protocols": {
                    "p": {"test": {"subject": [1]}, "validation": {"draw": {"subject": 1}, "whole": "subject"}}
                }
            },
            "whole goes with share alone",
        ),
    ],
)
def test_a_wrong_card_is_an_error_that_names_file_and_key(tmp_path: Path, changes: dict, message: str):
    path = write_card(tmp_path, **changes)
    with pytest.raises(UsageError, match=message) as caught:
        load_card(path)
    assert str(path) in caught.value.message
    assert str(path) in str(caught.value.hint)


@pytest.mark.parametrize("content", ["a: [", "- 1", "!!python/object/apply:os.getcwd []"])
def test_a_card_that_is_no_plain_mapping_is_refused(tmp_path: Path, content: str):
    path = tmp_path / "card.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"card\.yaml"):
        load_card(path)


def test_natural_order_counts_numbers_as_numbers():
    assert sorted(["a10_s1", "a2_s10", "a2_s9", "b1"], key=natural_key) == ["a2_s9", "a2_s10", "a10_s1", "b1"]
