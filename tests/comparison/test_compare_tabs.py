"""Tracks as tabs of the page of a comparison, in a headless Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import chromium
from made_runs import make_run

import kdbench
from kdbench.recipes.track import Track


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The page over two tracks, of which one has a label per class."""
    for method, wrong in (("student_only", 20), ("kd", 8)):
        for seed in range(3):
            make_run(tmp_path / "runs", method, seed, wrong=wrong)
            few = Track(labels=1).model_dump()
            make_run(tmp_path / "runs", method, seed, wrong=wrong + 20, track=few, split="few")
    kdbench.compare(tmp_path / "runs").save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.browser
@pytest.mark.slow
def test_one_track_is_shown_at_a_time_and_paper_has_all(saved: Path) -> None:
    with chromium() as browser, browser.new_context() as context:
        page = context.new_page()
        page.goto((saved / "comparison.html").as_uri())
        tabs = page.locator(".tabs > label").all_inner_texts()
        assert sorted(tabs) == ["1 label per class", "all labels"]
        panels = page.locator(".tabs > section")
        for number, name in enumerate(tabs):
            page.get_by_text(name, exact=True).first.click()
            assert [panels.nth(place).is_visible() for place in range(2)] == [place == number for place in range(2)]
            heading = panels.nth(number).locator("h2").nth(1).inner_text()
            assert ("1 labelled trial per class" in heading) == (name == "1 label per class")
        # The curve over the tracks belongs to none of them.
        assert page.get_by_text("Accuracy by labels per class").is_visible()
        page.emulate_media(media="print")
        assert panels.nth(0).is_visible()
        assert panels.nth(1).is_visible()


@pytest.mark.slow
def test_names_of_pictures_stay_short(saved: Path) -> None:
    names = [path.name for path in saved.glob("table*.png")]
    assert any("utd_mhad_cross_subject_small_labels1_accuracy" in name for name in names)
    assert max(map(len, names)) < 80
