"""What a comparison is written as: text, pages, frames and pictures."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_runs import TRIALS, make_run, make_study
from typer.testing import CliRunner

import kdbench
from kdbench.cli import app, main
from kdbench.comparison import Comparison, references
from kdbench.comparison.formats import FORMATS, render
from kdbench.comparison.pictures import pictures
from kdbench.comparison.saving import LISTED
from kdbench.comparison.text_tables import text_tables
from kdbench.errors import UsageError
from kdbench.plotting.class_matrices import confusion_difference
from kdbench.plotting.curves import method_curves
from kdbench.plotting.methods import bars
from kdbench.plotting.style import short

HOSTILE = "<script>alert(1)</script>|`x`[red]$\\frac{a}{b}$&%_#"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study") / "runs"
    make_study(root, {"student_only": 20, "kd": 8, "rkd": 12})
    make_run(root, "late", 0)
    return root


@pytest.fixture(scope="module")
def compared(study: Path) -> Comparison:
    return kdbench.compare(study)


@pytest.fixture(scope="module")
def alone(study: Path) -> Comparison:
    """One method, which has few pictures."""
    return kdbench.compare(study, methods=["student_only"])


@pytest.fixture(scope="module")
def hostile_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile") / "runs"
    make_study(root, {"student_only": 20, "kd": 8}, seeds=2)
    for seed in range(2):
        make_run(root, HOSTILE, seed, folder=f"hostile-{seed}")
    return root


@pytest.fixture(scope="module")
def hostile(hostile_runs: Path) -> Comparison:
    return kdbench.compare(hostile_runs)


def test_every_output_says_whom_it_is_about(study: Path) -> None:
    found = kdbench.compare(study, population="new-subjects")
    for name in FORMATS:
        assert ("new-subjects" if name in ("csv", "json") else "new subjects like these 4") in render(found, name)
    for frame in (found.methods, found.pairs, found.seeds, found.per_class):
        assert set(frame["population"]) == {"new-subjects"}


def test_a_population_is_known_by_both_spellings_and_its_near_misses(study: Path) -> None:
    assert kdbench.compare(study, population="new_subjects").population == "new-subjects"
    with pytest.raises(UsageError, match="did you mean 'new-subjects'"):
        kdbench.compare(study, population="new-subject")


def test_the_former_name_of_the_population_still_works(study: Path) -> None:
    with pytest.warns(DeprecationWarning, match="population="):
        assert kdbench.compare(study, about="new-subjects").population == "new-subjects"
    done = CliRunner().invoke(app, ["compare", "--out", str(study), "--about", "new-subjects"])
    assert "new subjects like these 4" in done.output
    assert "--about" not in CliRunner().invoke(app, ["compare", "--help"]).output


def test_markdown_keeps_a_row_a_row(hostile: Comparison) -> None:
    text = render(hostile, "md")
    table = [line for line in text.splitlines() if line.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table[:5]}
    assert len(bars) == 1
    assert "<script>" not in text


def test_latex_is_booktabs_with_every_sign_escaped(hostile: Comparison) -> None:
    text = render(hostile, "latex")
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == len(text_tables(hostile))
    row = next(line for line in text.splitlines() if "script" in line)
    assert r"\textbackslash{}frac\{a\}\{b\}\$\&\%\_\#" in row
    assert len(re.findall(r"(?<!\\)&", row)) == len(text_tables(hostile)[0].headers) - 1


def test_csv_reads_back(compared: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(render(compared, "csv"))))
    assert [row["method"] for row in rows] == ["kd", "rkd", "student_only", "late"]
    assert float(rows[0]["accuracy"]) == pytest.approx(1 - 9 / 80)
    assert rows[3]["accuracy"] == ""


def test_json_is_strict_and_whole(study: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    content = json.loads(render(kdbench.compare(study, reference=True), "json"), parse_constant=refuse)
    assert content["tables"][0]["conditions"]["train.epochs"] == 30
    assert content["methods"][3]["accuracy"] is None
    assert len(content["pairs"]) == 2
    assert {one["protocol"] for one in content["references"]} >= {"unknown"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]


def test_the_page_is_whole_and_runs_no_script(hostile: Comparison) -> None:
    text = render(hostile, "html")
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert "default-src 'none'" in text
    assert "&lt;script&gt;" in text


@pytest.mark.slow
def test_pictures_are_drawn_without_a_display(study: Path, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "MPLBACKEND")}
    program = "import sys, kdbench; kdbench.compare(sys.argv[1]).save(sys.argv[2]); print('torch' in sys.modules)"
    command = [sys.executable, "-c", program, str(study), str(tmp_path / "saved")]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "False"
    names = {path.name for path in (tmp_path / "saved").iterdir()}
    kinds = ("accuracy", "cost", "per_class_gain", "confusion_difference", "learning_curves")
    stem = "table1_utd_mhad_cross_subject_small"
    assert {f"{stem}_{kind}.{ending}" for kind in kinds for ending in ("png", "svg")} <= names
    assert {"comparison.md", "comparison.tex", "comparison.html", "comparison.json"} <= names
    assert {"methods.csv", "pairs.csv", "seeds.csv", "per_class.csv"} <= names
    for path in (tmp_path / "saved").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_the_same_numbers_give_the_same_picture(alone: Comparison) -> None:
    first, second = (pictures(alone)[0].svg() for _ in range(2))
    assert first == second


def test_colours_of_a_confusion_difference_say_what_is_better(tmp_path: Path) -> None:
    make_study(tmp_path, {"student_only": 20, "rkd": 60})
    figure = confusion_difference(kdbench.compare(tmp_path).tables[0])
    assert figure is not None
    (image,) = figure.axes[0].images
    shown = np.asarray(image.get_array())
    # rkd errs more often: it is worse on the diagonal, and worse where the errors are, too.
    assert image.get_cmap().name == "RdBu"
    assert shown.min() < 0
    assert shown.max() <= 0


def test_an_axis_of_bars_fits_intervals_seeds_and_chance(tmp_path: Path) -> None:
    count = len(TRIALS)
    make_study(tmp_path, {"student_only": count - count // 10, "rkd": count - count // 5})
    table = kdbench.compare(tmp_path).tables[0]
    figure = bars(table)
    assert figure is not None
    low, high = figure.axes[0].get_xlim()
    drawn = [100 * row.measures["accuracy"].high for row in table.rows]
    assert low == 0
    assert max(drawn) <= high < 100
    assert "always one class" in figure.axes[0].get_xlabel()


def test_a_leaking_teacher_is_named_in_every_format(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_study(root, {"student_only": 20})
    for seed in range(3):
        make_run(root, "kd", seed, change={"teacher": {"accuracy": 0.99, "folder": "t", "leaks": True}})
        make_run(root, "rkd", seed)
    found = kdbench.compare(root)
    leaks = dict(zip(found.methods["method"], found.methods["teacher_leaks"], strict=True))
    assert leaks == {"kd": True, "rkd": False, "student_only": False}
    assert set(found.seeds[found.seeds["teacher_leaks"]]["method"]) == {"kd"}
    shown = CliRunner().invoke(app, ["compare", "--out", str(root), "--show", "all"]).output
    texts = {name: render(found, name) for name in FORMATS} | {"terminal": shown}
    for name in ("md", "latex", "html", "terminal"):
        row = next(line for line in texts[name].splitlines() if "99.00" in line)
        assert "kd" in row or name == "terminal"
        assert "(leaks)" in row
        assert texts[name].count("(leaks)") == 2
        assert "trained on the sensor recordings of the test trials" in " ".join(texts[name].split())
    assert next(csv.DictReader(io.StringIO(texts["csv"])))["teacher_leaks"] == "True"
    assert json.loads(texts["json"])["methods"][0]["teacher_leaks"] is True


def test_long_names_are_shortened_where_they_do_not_differ() -> None:
    first, second = (short(f"{'very_' * 10}long_method_{end}", 30) for end in ("raw", "gaf"))
    assert len(first) == 30
    assert first.endswith("_method_raw")
    assert first != second
    assert short("hinton_random_teacher_raw (control)") == "hinton_random_teacher_raw (control)"


@pytest.mark.parametrize("line", ["[1]", '{"phase": "student"}', '{"phase": "student", "epoch": 1, "accuracy": "x"}'])
def test_a_broken_log_costs_its_curve_alone(study: Path, compared: Comparison, line: str) -> None:
    log = next(study.glob("kd-s0-*")) / "metrics.jsonl"
    whole = log.read_text()
    log.write_text(f"{line}\n")
    figure = method_curves(compared.tables[0])
    log.write_text(whole)
    assert figure is not None
    assert "methods without curves: 1" in figure.get_suptitle()
    assert [text.get_text() for text in figure.legends[0].texts] == ["rkd", "student_only"]


def test_saving_over_a_file_is_refused(compared: Comparison, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="is a file, expected a folder"):
        compared.save(tmp_path / "taken")


@pytest.mark.slow
def test_a_folder_holds_the_last_comparison_alone(compared: Comparison, alone: Comparison, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "mine.png").write_bytes(b"mine")
    first = {path.name for path in compared.save(saved)}
    second = {path.name for path in alone.save(saved)}
    assert first - second
    assert {path.name for path in saved.iterdir()} == {*second, LISTED, "mine.png"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "listed", ["5", "[1, null]", '["../table1_a.png", "sub/table1_a.png", "notes.txt", "files.json"]', "no list"]
)
def test_a_list_of_files_takes_no_file_of_anybody_else(alone: Comparison, tmp_path: Path, listed: str) -> None:
    (tmp_path / "saved/sub").mkdir(parents=True)
    own = ("table1_a.png", "saved/sub/table1_a.png", "saved/notes.txt", "saved/files.json")
    for place in own:
        (tmp_path / place).write_text('["notes.txt"]')
    (tmp_path / "saved" / LISTED).write_text(listed)
    alone.save(tmp_path / "saved")
    assert all((tmp_path / place).read_text() == '["notes.txt"]' for place in own)


def test_the_command_prints_names_as_they_are(hostile_runs: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "--out", str(hostile_runs)])
    assert done.exit_code == 0
    assert HOSTILE in done.output
    assert "95 % CIs and tests: same 4 test subjects, new trials and seeds (2 seeds run)." in done.output
    assert "every method against student_only, Holm's correction over 2 pairs" in " ".join(done.output.split())


@pytest.mark.slow
def test_the_command_writes_a_format_and_saves(study: Path, tmp_path: Path) -> None:
    arguments = ["compare", "--out", str(study), "--method", "kd", "--method", "student_only", "--format", "json"]
    done = CliRunner().invoke(app, [*arguments, "--save", str(tmp_path / "saved")])
    assert done.exit_code == 0
    assert [one["method"] for one in json.loads(done.stdout)["methods"]] == ["kd", "student_only"]
    assert f"writing figures to {tmp_path / 'saved'} ..." in done.stderr
    assert (tmp_path / "saved" / "comparison.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "pdf"], 2, "unknown format 'pdf'"),
        (["--method", "hintn"], 2, "did you mean 'hinton'"),
        (["--method", "hintn"], 2, "See them: kdbench runs list"),
        (["--method", "dkd"], 2, "Run it: kdbench run --method dkd"),
        (["--dataset", "mmact"], 2, "unknown data set"),
        (["--out", "nowhere"], 3, "there is no folder of runs"),
    ],
)
def test_the_command_explains_bad_input(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compare", "--out", str(study), *arguments])
    assert caught.value.code == code
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split())
    assert "Traceback" not in shown


def test_published_numbers_stand_beside_and_in_no_ranking(study: Path, compared: Comparison) -> None:
    plain, beside = compared, kdbench.compare(study, reference=True, dataset="utd_mhad")
    assert plain.references == ()
    assert beside.methods.equals(plain.methods)
    sheet = text_tables(beside)[-1]
    assert sheet.title == "Published numbers, beside and in no ranking"
    assert ("SAKDN", "utd_mhad", "98.60") in {(row[0], row[1], row[4]) for row in sheet.rows}


def test_reference_numbers_carry_protocol_and_source() -> None:
    found = references()
    # Nine systems at three protocols of MMAct, nine on UTD-MHAD, six rows of the ablation.
    assert len(found) == 9 * 3 + 9 + 6
    by_key = {(one.method, one.dataset, one.protocol): one.value for one in found}
    assert by_key["SGM+FT", "mmact", "cross_subject"] == 79.52
    assert by_key["HAMLET", "utd_mhad", "cross_subject (inferred: 409/430)"] == 95.12
    assert by_key["SGM+FT", "utd_mhad", "unknown"] == 98.89
    assert all(one.source and one.protocol and one.metric and one.selection == "unknown" for one in found)


def test_a_broken_reference_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("title: mine\nrows: [{method: A}]\n")
    with pytest.raises(UsageError, match=r"mine\.yaml is not valid: KeyError: 'metrics'"):
        references(folder=tmp_path)
