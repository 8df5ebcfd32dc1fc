"""The site: built strictly, complete, without a dead link or a foreign file, and at work when opened from the disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import chromium
from filelock import FileLock
from pages import losses, methods
from pages.formulas import is_formula
from pages.prose import text_of
from site_files import SitePage, dead, elsewhere

from kdbench.cli import COMMANDS
from kdbench.registry import registry

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LOOKED_AT = (
    *("index.html", "losses/crd.html", "methods/sgm_ft.html", "reference/command-line.html", "reference/recipe.html"),
    *("reference/python.html", "results.html", "losses.html", "glossary.html", "teachers.html", "statistics.html"),
    *("parts/encoders.html", "parts/poolings.html", "parts/fusions.html", "leaderboard/index.html"),
    *("own-data.html", "export.html", "first-hour.html", "terminal.html", "install.html", "tutorials.html"),
    *("tutorials/1_from_zero_to_a_table.html", "tutorials/2_a_loss_of_ones_own.html"),
    *("tutorials/3_own_recordings.html", "tutorials/4_read_a_comparison.html", "tutorials/5_export_and_predict.html"),
)
_BROKEN = """
[...document.querySelectorAll('code .option')].filter(e => e.getClientRects().length > 1).map(e => e.innerText)
"""
"""Options of which a line ends within."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    # Tests of this module may run in several workers, and one of them builds for all.
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "built" / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    with FileLock(f"{folder.parent}.lock"):
        if not (folder / "index.html").is_file():
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, SitePage]:
    return {path.resolve(): SitePage(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def test_no_link_is_dead(pages: dict[Path, SitePage]) -> None:
    assert sum(len(page.links) for page in pages.values()) > 5000
    assert dead(pages) == []


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[Path, SitePage]) -> None:
    assert {page.path: found for page in pages.values() if (found := elsewhere(page))} == {}
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_every_loss_and_method_has_a_page_and_formulas_are_drawn(site: Path, pages: dict[Path, SitePage]) -> None:
    assert len(losses.names()) >= 50
    for name in losses.names():
        page = pages[(site / f"losses/{name}.html").resolve()]
        prose = text_of(registry("loss").get(name)).partition("\nArgs:")[0]
        formulas = [code for code in re.findall(r"`([^`]+)`", prose) if is_formula(code)]
        assert page.tags.get("math", 0) >= len(formulas), name
    for name in methods.names():
        assert (site / f"methods/{name}.html").resolve() in pages
    for page in pages.values():
        text = re.sub(r"<(pre|code|script)\b.*?</\1>", "", page.path.read_text(encoding="utf-8"), flags=re.DOTALL)
        left = re.findall(r"arithmatex|\$\$|\\(?:frac|operatorname|left|langle|sum|mathrm)\b.{20}", text)
        assert left == [], page.path


def test_every_command_and_teacher_is_in_the_reference(site: Path, pages: dict[Path, SitePage]) -> None:
    command_line = pages[(site / "reference/command-line.html").resolve()]
    assert {f"kdbench-{name}" for name in COMMANDS} <= command_line.ids
    assert set(methods.names("teacher")) <= pages[(site / "teachers.html").resolve()].ids


def test_documentation_and_leaderboard_link_each_other_in_the_same_colours(site: Path) -> None:
    board, start = (site / "leaderboard/index.html", site / "index.html")
    assert 'href="../index.html">Documentation' in board.read_text(encoding="utf-8")
    assert 'href="leaderboard/index.html"' in start.read_text(encoding="utf-8")
    palette = (ROOT / "leaderboard/site/palette.css").read_text(encoding="utf-8")
    assert palette in board.read_text(encoding="utf-8")
    assert (site / "stylesheets/palette.css").read_text(encoding="utf-8") == palette


def test_no_page_names_a_folder_of_this_machine(pages: dict[Path, SitePage]) -> None:
    own = {str(ROOT), str(Path.home()), "/tmp/"} - {"/", "/root"}
    for page in pages.values():
        text = page.path.read_text(encoding="utf-8")
        assert not [folder for folder in own if folder in text], page.path


@pytest.mark.browser
def test_search_works_from_the_disk(site: Path, browser: Browser) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("relational knowledge")
    found = page.locator("a.md-search-result__link")
    found.first.wait_for(timeout=15_000)
    assert any("methods/rkd.html" in str(link.get_attribute("href")) for link in found.all())
    found.first.click()
    page.wait_for_load_state()
    assert "rkd" in page.url
    assert said == []


@pytest.mark.browser
def test_pages_fit_a_phone_and_say_nothing_on_the_console(site: Path, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(120_000)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    for path in LOOKED_AT:
        page.goto((site / path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert page.evaluate(_BROKEN) == [], path
    assert said == []


@pytest.mark.browser
def test_a_reader_in_the_dark_gets_dark_pages(site: Path, browser: Browser) -> None:
    for path in ("index.html", "leaderboard/index.html"):
        shades = []
        for scheme in ("light", "dark"):
            page = browser.new_context(color_scheme=scheme).new_page()
            page.goto((site / path).as_uri())
            shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
            shades.append(sum(map(int, re.findall(r"\d+", shade)[:3])))
        assert shades[0] > 600 > 200 > shades[1], (path, shades)
