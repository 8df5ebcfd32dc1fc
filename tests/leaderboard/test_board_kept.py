"""What a board keeps between two builds is of the very files that stood, and nothing else is taken from it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import board_runs
import pytest

from kdbench.cli import main
from kdbench.errors import DataError
from kdbench.leaderboard import each as each_module
from kdbench.leaderboard import keep as keep_module
from kdbench.leaderboard.add import add
from kdbench.leaderboard.build import build
from kdbench.leaderboard.check import Checked
from kdbench.leaderboard.entry import BoardEntry, found, load
from kdbench.leaderboard.keep import Keep, key_of
from kdbench.leaderboard.packing import pack
from kdbench.leaderboard.tables import protocols
from kdbench.leaderboard.verify import verify


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("several")
    (root / "leaderboard").mkdir()
    for method, right in (("student_only", 0.7), ("kd", 0.8)):
        add(board_runs.runs(root / method, method, right=right, base=method), root / "leaderboard")
    return root / "leaderboard"


@pytest.fixture
def own(several: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board of two submissions, with a keep of its own."""
    monkeypatch.setattr(keep_module, "cache_dir", lambda: tmp_path / "cache")
    return Path(shutil.copytree(several, tmp_path / "leaderboard"))


def unchecked(*_: object) -> None:
    raise AssertionError("a submission was checked again")


def pages(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def test_a_second_build_checks_nothing_and_makes_the_same_site(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = build(own, tmp_path / "site")
    assert first.kept == 0
    made = pages(tmp_path / "site")
    with monkeypatch.context() as patch:
        patch.setattr(each_module, "check_opened", unchecked)
        with pytest.raises(SystemExit, match="0"):
            main(["leaderboard", "build", "--board", str(own), "--out", str(tmp_path / "site")])
        assert f"{first.submissions} of them stood before and are unchanged" in capsys.readouterr().err
        assert pages(tmp_path / "site") == made
        # Without an earlier site, every page is made again, of what is kept alone.
        assert build(own, tmp_path / "elsewhere").kept == first.submissions
    assert pages(tmp_path / "elsewhere") == made
    assert build(own, tmp_path / "site", recheck=True).kept == 0
    assert pages(tmp_path / "site") == made


def flipped(path: Path) -> None:
    """One bit of a file is another, and its size and times are as they were."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def stray(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def linked(folder: Path) -> None:
    (folder / "recipe.yaml").rename(folder.parent / "aside.yaml")
    (folder / "recipe.yaml").symlink_to(folder.parent / "aside.yaml")


def claimed(folder: Path) -> None:
    content = json.loads((folder / "result.json").read_text())
    content["seeds"][0]["metrics"]["accuracy"] += 0.01
    (folder / "result.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "edit",
    [
        lambda folder: flipped(folder / "predictions.parquet"),
        lambda folder: flipped(folder / "environment.json"),
        lambda folder: (folder / "recipe.yaml").unlink(),
        claimed,
        stray,
        linked,
        lambda folder: folder.rename(folder.with_name("0123456789ab")),
    ],
)
def test_whatever_is_changed_is_checked_again(own: Path, edit: Callable[[Path], None]) -> None:
    with Keep() as keep:
        verify(found(own), keep)
    edit(found(own)[0])
    with Keep() as keep:
        (first, *others) = verify(found(own), keep)
    assert not first.kept
    assert first.problems
    assert all(other.kept for other in others)


def test_what_does_not_stand_is_never_kept(own: Path) -> None:
    wrong = found(own)[0]
    claimed(wrong)
    for _ in range(2):
        with Keep() as keep:
            checked = verify(found(own), keep)
        assert [one.folder for one in checked if one.problems] == [wrong]
    with pytest.raises(DataError, match="does not verify"):
        build(own, own.parent / "site")


def test_a_copy_is_found_beside_what_is_kept(own: Path, several: Path, tmp_path: Path) -> None:
    with Keep() as keep:
        verify(found(own), keep)
    copies = board_runs.runs(tmp_path / "runs", "rkd", base="rkd")
    originals = sorted((several.parent / "kd").iterdir(), key=by_seed)
    for copy, original in zip(sorted(copies, key=by_seed), originals, strict=True):
        shutil.copy(original / "predictions.parquet", copy)
        result = json.loads((copy / "run.json").read_text())
        result["metrics"] = json.loads((original / "run.json").read_text())["metrics"]
        (copy / "run.json").write_text(json.dumps(result))
    copy = add(copies, own)
    with Keep() as keep:
        wrong = {one.folder: one.problems for one in verify(found(own), keep) if one.problems}
    assert len(wrong) == 2
    assert "has the predictions of seed 0 of 'kd'" in wrong[copy][0]
    # What was kept stands for itself, and not beside a copy of it.
    shutil.rmtree(copy)
    with Keep() as keep:
        assert not any(one.problems for one in verify(found(own), keep))


def by_seed(folder: Path) -> int:
    return int(folder.name.rpartition("-s")[2])


def test_another_kdbench_another_card_and_a_changed_page_take_nothing(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    build(own, site)
    made = pages(site)
    (page,) = [path for path in site.rglob("index.html") if found(own)[0].name in path.parts]
    page.write_text(page.read_text().replace("Accuracy", "Accuracies"))
    build(own, site)
    assert pages(site) == made
    with monkeypatch.context() as patch:
        patch.setattr("kdbench.leaderboard.packing.known_sha256", lambda *_: "another")
        assert build(own, tmp_path / "other").kept == 0
    with monkeypatch.context() as patch:
        patch.setattr(keep_module, "own_code", lambda: "another")
        assert build(own, tmp_path / "third").kept == 0


def test_without_a_usable_keep_everything_is_checked(own: Path, tmp_path: Path) -> None:
    for content in (b"no database", b""):
        (tmp_path / "keep.db").write_bytes(content)
        with Keep(tmp_path / "keep.db") as keep:
            assert not any(one.kept or one.problems for one in verify(found(own), keep))
    with Keep(tmp_path / "nowhere" / "keep.db") as keep:
        (tmp_path / "nowhere" / "keep.db").unlink()
        assert not any(one.problems for one in verify(found(own), keep))


def test_what_is_kept_makes_the_same_tables(own: Path) -> None:
    with Keep() as keep:
        fresh = verify(found(own), keep)
    with Keep() as keep:
        kept = verify(found(own), keep)
    assert all(one.kept for one in kept)
    for one, other in zip(protocols(fresh)[0].rows, protocols(kept)[0].rows, strict=True):
        for name in ("label", "tier", "accuracy", "teachers", "control", "machines", "training_seconds", "taught_by"):
            assert getattr(one, name) == getattr(other, name), name
        assert one.metric("map") == other.metric("map")
        assert one.entry.recipe == other.entry.recipe


def test_a_submission_with_plugins_is_not_kept(own: Path) -> None:
    (first, *_) = found(own)
    entry = load(first)
    assert key_of(first) is not None
    (held, *_) = verify([first])
    assert held.entry is not None
    assert pack(held.entry, held.tier) is not None
    plugin = {"kind": "loss", "name": "mine", "distribution": None, "version": None, "source_sha256": None}
    named = entry.result.model_validate(entry.result.model_dump(mode="json") | {"plugins": [plugin]})
    assert pack(type(held.entry)(first, named, entry.sha256), held.tier) is None


def test_a_second_process_checks_a_part_and_what_it_leaves_is_checked_here(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(each_module, "_WORTH_HELP", 2)
    monkeypatch.setattr(each_module, "has_another_core", lambda: True)
    here: list[Path] = []
    real = each_module.check_opened

    def counted(folder: Path, opened: Callable[[], BoardEntry]) -> Checked:
        here.append(folder)
        return real(folder, opened)

    monkeypatch.setattr(each_module, "check_opened", counted)
    folders = found(own)
    with Keep() as keep:
        checked = verify(folders, keep)
    assert here == folders[:1]
    assert [one.folder for one in checked] == folders
    assert not any(one.problems or one.kept for one in checked)
    # One that does not stand is not kept over there, and named here.
    claimed(folders[1])
    (own.parent / "cache" / "board.db").unlink()
    here.clear()
    with Keep() as keep:
        checked = verify(folders, keep)
    assert here == folders
    assert [bool(one.problems) for one in checked] == [False, True]
