"""Tracks on the board: what a submission says of its own, what is forged, and how a page shows several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import board_runs
import pytest
from browser import chromium
from helpers import WORLD, tiny
from test_board_verify import forge

from kdbench.leaderboard.add import add
from kdbench.leaderboard.build import build
from kdbench.leaderboard.check import check
from kdbench.leaderboard.entry import found, load
from kdbench.leaderboard.pages import command
from kdbench.leaderboard.tables import protocols
from kdbench.leaderboard.verify import verify
from kdbench.recipes.resolve import resolve
from kdbench.recipes.track import Track
from kdbench.runs.run import run

ONE = Track(labels=1)


def scarce(root: Path, method: str, labels: int, right: float) -> list[Path]:
    """Runs on UTD-MHAD with so many labels per class; 27 classes, 431 training trials."""
    track = Track(labels=labels).model_dump()
    recipe = {**resolve(method, "small").model_dump(mode="json"), "track": track}
    trials = {"train": 431, "validation": 0, "test": 430, "labelled": 27 * labels, "paired": 431}
    return board_runs.runs(
        root, method, right=right, base=method, recipe=recipe, conditions={"track": track}, trials=trials
    )


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with two methods under all labels and under one label per class, and one under two."""
    root = tmp_path_factory.mktemp("tracks")
    board = root / "leaderboard"
    board.mkdir()
    for place, (method, whole, one) in enumerate((("student_only", 0.8, 0.5), ("kd", 0.82, 0.7))):
        add(board_runs.runs(root / f"all{place}", method, base=method, right=whole), board)
        add(scarce(root / f"one{place}", method, 1, one), board)
    add(scarce(root / "two", "kd", 2, 0.75), board)
    return board


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    """One submission with one label per class."""
    (tmp_path / "leaderboard").mkdir()
    return add(scarce(tmp_path / "runs", "kd", 1, 0.7), tmp_path / "leaderboard")


def test_a_submission_names_its_track_and_how_many_trials_have_a_label(honest: Path) -> None:
    result = load(honest).result
    assert result.conditions["track"] == ONE.model_dump()
    assert [each.given.labelled for each in result.seeds if each.given] == [27, 27, 27]
    assert check(honest).problems == ()


def test_a_submission_of_all_labels_says_nothing_of_tracks(submission: Path) -> None:
    content = json.loads((submission / "result.json").read_text())
    assert "track" not in content["conditions"]
    assert all("given" not in each for each in content["seeds"])


def given(**values: int) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["seeds"][1]["given"].update(values)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda content: content["conditions"].pop("track"), "disagree on 'track'"),
        (lambda content: content["conditions"]["track"].update(labels=2), "disagree on 'track'"),
        (lambda content: content["conditions"]["track"].update(teacher_labels="same"), "disagree on 'track'"),
        (lambda content: content["conditions"]["track"].update(labels="many"), "is not what its schema says"),
        (lambda content: content["conditions"]["track"].update(words=1), "is not what its schema says"),
        (given(labelled=54), "seed 1: it says that 54 training trials are labelled, and under its track"),
        (given(paired=400), "400 training trials are paired"),
        (given(train=432, paired=432), "432 trials train, and by the card 431 do|432 training trials are paired"),
        (given(labelled=500), "500 labelled and 431 paired of 431 training trials cannot be"),
        (lambda content: content["seeds"][0].pop("given"), "seed 0: it does not say how many trials have a label"),
    ],
)
def test_a_forged_track_is_named(honest: Path, edit: Callable[[dict[str, Any]], object], text: str) -> None:
    folder = forge(honest, lambda content: (edit(content), None)[1])
    assert any(part in problem for problem in check(folder).problems for part in text.split("|"))


def test_all_labels_cannot_be_called_a_track(submission: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["conditions"]["track"] = Track().model_dump()

    assert any("which no run writes" in problem for problem in check(forge(submission, edit)).problems)


def test_tracks_are_never_in_one_table(tracks: Path) -> None:
    (protocol,) = protocols(verify(found(tracks)))
    assert [(tab.track.name, [number for number, _ in tab.tables]) for tab in protocol.tabs] == [
        ("all labels", [1]),
        ("2 labels per class", [2]),
        ("1 label per class", [3]),
    ]
    for table in protocol.tables:
        assert len({row.entry.recipe.track for row in table.rows}) == 1
        assert table.differs == []
    one = protocol.tables[2]
    assert one.title.endswith("1 labelled trial per class, teacher uses all labels")
    assert one.alone is not None
    row = next(row for row in one.rows if row.label == "kd")
    assert command(row, "kd").endswith("--seeds 3 --labels 1")


def test_a_page_without_scripts_has_a_heading_a_track(tracks: Path, tmp_path: Path) -> None:
    site = build(tracks, tmp_path / "site").folder
    page = (site / "utd_mhad/cross_subject/index.html").read_text()
    places = [
        page.index(f"<h2>Track: {name}</h2>") for name in ("all labels", "2 labels per class", "1 label per class")
    ]
    assert places == sorted(places)
    assert "<h3>small · video:depth as clip</h3>" in page
    recipe = next(site.glob("utd_mhad/cross_subject/kd/*/index.html"))
    assert "kdbench run --method kd" in recipe.read_text()
    assert "1 labelled trial per class" in (site / "index.html").read_text()
    assert "1 labelled trial per class" in (site / "utd_mhad/cross_subject/table.csv").read_text()


def test_a_page_of_one_track_has_no_tabs(tmp_path: Path, submission: Path, board: Path) -> None:
    assert submission.is_dir()
    site = build(board, tmp_path / "site").folder
    assert 'id="track-' not in (site / "utd_mhad/cross_subject/index.html").read_text()


@pytest.mark.slow
@pytest.mark.browser
def test_a_tab_shows_its_track_alone(tracks: Path, tmp_path: Path) -> None:
    site = build(tracks, tmp_path / "site").folder
    address = (site / "utd_mhad/cross_subject/index.html").as_uri()
    with chromium() as browser:
        page = browser.new_page()
        heard: list[str] = []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.goto(address)
        tabs = page.get_by_role("tab")
        assert tabs.all_inner_texts() == ["all labels", "2 labels per class", "1 label per class"]
        shown = page.locator("section.track:visible")
        assert shown.evaluate_all("all => all.map((each) => each.id)") == ["track-all"]
        assert page.locator("form[data-filter] output").inner_text() == "2 of 2 rows"
        tabs.nth(1).click()
        assert shown.evaluate_all("all => all.map((each) => each.id)") == ["track-labels2"]
        assert page.locator("form[data-filter] output").inner_text() == "1 of 1 rows"
        tabs.nth(1).press("ArrowRight")
        assert tabs.nth(2).get_attribute("aria-selected") == "true"
        # The index leads to a table that lies behind a tab.
        page.goto("about:blank")
        page.goto(f"{address}#table-3")
        assert page.locator("#table-3").is_visible()
        assert not page.locator("#table-1").is_visible()
        without = browser.new_context(java_script_enabled=False).new_page()
        without.goto(address)
        assert all(without.locator(f"#table-{number}").is_visible() for number in (1, 2, 3))
        assert heard == []


@pytest.mark.slow
def test_trained_runs_of_a_label_track_are_submitted(tmp_path: Path, board: Path) -> None:
    made = [tiny("student_only", tmp_path / "runs", "track.labels=1", seed=seed).folder for seed in range(3)]
    folder = add(made, board)
    assert check(folder).problems == ()
    # Four actions of the generated world.
    assert [each.given.labelled for each in load(folder).result.seeds if each.given] == [4, 4, 4]
    (row,) = protocols(verify(found(board)))[0].rows
    assert command(row, "student_only").endswith("--labels 1")


@pytest.mark.slow
def test_trained_runs_without_labels_are_submitted(tmp_path: Path, board: Path) -> None:
    changes = [*WORLD, "track.labels=0"]
    made = [
        run("untrained", "motionsim", preset="smoke", device="cpu", out=tmp_path, overrides=changes, seed=seed).folder
        for seed in range(3)
    ]
    folder = add(made, board)
    assert check(folder).problems == ()
    (protocol,) = protocols(verify(found(board)))
    assert protocol.tables[0].alone is protocol.rows[0]
    (tmp_path / "site").mkdir()
    build(board, tmp_path / "site")
