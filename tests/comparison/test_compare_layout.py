"""Tables that fit, whatever the width: no name is broken, what is left out is said, and one table is the default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from made_runs import make_run, make_study
from typer.testing import CliRunner

import kdbench
from kdbench.cli import app
from kdbench.comparison import Comparison
from kdbench.comparison.formats import render
from kdbench.comparison.layout import layout
from kdbench.comparison.text_tables import text_tables

LONG = "a_method_whose_name_has_forty_signs_in_i"
NAMES = ("student_only", "kd", LONG, "sgm_ft_without_st")


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    root = tmp_path_factory.mktemp("runs")
    make_study(root, {"student_only": 40, "kd": 2, LONG: 12, "sgm_ft_without_st": 30}, seeds=3)
    return kdbench.compare(root, reference=True, dataset="utd_mhad")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_a_table_keeps_to_the_width_and_breaks_no_word(compared: Comparison, width: int) -> None:
    for sheet in text_tables(compared):
        lines = [line.text for line in layout(sheet, width)]
        assert max(map(len, lines)) <= width
        text = " ".join(" ".join(lines).split())
        words = {word for row in sheet.rows for cell in row for word in cell.split()}
        left_out = " ".join(line for line in lines if line.startswith("· Left out"))
        shown = words if not left_out else {row[0].split()[0] for row in sheet.rows}
        assert all(word in text for word in shown), sheet.kind
    assert all(name in "\n".join(line.text for line in layout(text_tables(compared)[0], width)) for name in NAMES)


def test_the_main_table_is_a_table_at_eighty_columns_and_says_what_it_leaves_out(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "hinton_random_teacher_raw": 2, "sgm_ft_without_st": 30}, seeds=3)
    lines = [line.text for line in layout(text_tables(kdbench.compare(tmp_path))[0], 80)]
    head = next(line for line in lines if line.startswith("Method"))
    assert "Accuracy %" in head
    assert "Verdict" in head
    assert any(line.startswith("kd + raw_random (control) ") for line in lines)
    note = " ".join(lines)
    assert ("SD" in head) != ("Left out at 80 columns: SD" in note)


def test_the_heads_of_the_main_table_take_two_lines_at_eighty_columns(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "hinton_random_teacher_raw": 2, "sgm_ft_without_st": 30}, seeds=3)
    lines = [line.text for line in layout(text_tables(kdbench.compare(tmp_path))[0], 80)]
    first = next(place for place, line in enumerate(lines) if line.startswith("Method"))
    assert lines[first + 2].startswith("─")
    assert "· Gain: over student_only." in lines


def test_pairwise_tests_keep_both_p_at_eighty_columns(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "hinton_random_teacher_raw": 2, "sgm_ft_without_st": 30}, seeds=3)
    (tests,) = text_tables(kdbench.compare(tmp_path), {"tests"})
    lines = [line.text for line in layout(tests, 80)]
    head, below = next((lines[place], lines[place + 1]) for place, line in enumerate(lines) if line.startswith("Pair "))
    assert head.split().count("p") == 2
    assert "(Holm)" in below


def test_a_table_that_cannot_fit_becomes_cards(compared: Comparison) -> None:
    lines = [line.text for line in layout(text_tables(compared)[0], 60)]
    place = lines.index(LONG)
    assert lines[place + 2].startswith("  Accuracy % [95 % CI]: ")
    assert any(line.startswith("  Verdict: ") for line in lines[place : place + 7])


def test_one_table_is_printed_and_others_on_request(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2}, seeds=2)

    def shown(*more: str) -> str:
        done = CliRunner().invoke(app, ["compare", "--out", str(tmp_path), *more])
        assert done.exit_code == 0, done.output
        assert max(map(len, done.output.splitlines())) <= 100
        return done.output

    plain = shown()
    assert len(re.findall(r"^─", plain, re.MULTILINE)) == 1
    assert "More, by --show NAME: metrics" in plain
    assert "For unseen subjects: --population new-subjects." in plain.replace("\n", " ")
    assert "Pairwise tests of accuracy" in shown("--show", "tests")
    assert "Teachers and conditions" not in shown("--show", "tests")
    everything = shown("--show", "all")
    for title in ("Metrics, and the accuracy", "Pairwise tests", "Teachers and conditions", "Cost of what"):
        assert title in everything
    assert "More, by" not in everything
    done = CliRunner().invoke(app, ["compare", "--out", str(tmp_path), "--show", "test"])
    assert "did you mean 'tests'" in str(done.exception)


def test_a_comparison_is_short_on_the_prompt_and_a_table_in_a_notebook(compared: Comparison) -> None:
    assert len(repr(compared)) < 500
    assert "utd_mhad · cross_subject · small: 4 methods, 3 seeds; highest accuracy: kd" in repr(compared)
    page = compared._repr_html_()
    assert page.count("<table>") == 1
    assert page.count("data:image/svg+xml;base64,") == 1
    assert LONG in page


def test_latex_has_minus_signs_bold_claims_and_pages(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 40, "kd": 2, "rkd": 39, "worse": 70}, seeds=5)
    text = render(kdbench.compare(tmp_path), "latex")
    row = {line.split(" & ")[0]: line for line in reversed(text.splitlines()) if line.count(" & ") == 5}
    assert row["kd"].split(" & ")[4].startswith(r"\textbf{+")
    assert "textbf" not in row["rkd"] + row["worse"] + row["student\\_only"]
    assert "$-$37.50 [$-$" in row["worse"]
    assert not re.search(r"(?<![\w$-])-\d", text)
    assert "{-}{-}family all" in text
    for number in range(30):
        make_run(tmp_path, f"more_{number}", 0)
    many = render(kdbench.compare(tmp_path, seeds=[0]), "latex")
    assert r"\begin{longtable}{llrrrl}" in many
    assert many.count(r"\endhead") == many.count(r"\begin{longtable}") > 0
    assert many.count(r"\begin{table}") == many.count(r"\end{table}")
