"""`kdbench data` as a user calls it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.cli import main

Data = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def data(capfd: pytest.CaptureFixture[str]) -> Data:
    """Runs `kdbench data` in this process."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        with pytest.raises(SystemExit) as caught:
            main(["data", *map(str, arguments)])
        return subprocess.CompletedProcess(arguments, int(caught.value.code or 0), *capfd.readouterr())

    return call


def test_list_shows_where_recordings_are_and_what_is_prepared(data: Data, card_path: Path, recordings: Path):
    before = data("list")
    assert before.returncode == 0, before.stderr
    assert "utd_mhad" in before.stdout
    assert "missing" in before.stdout
    assert "generated" in before.stdout
    prepared = data("prepare", card_path, "--data-dir", recordings, "--preset", "smoke")
    assert prepared.returncode == 0, prepared.stderr
    assert "24 trials, depth (rgb not there)" in prepared.stdout
    assert "fingerprint" in prepared.stdout
    after = data("list", "--data-dir", recordings)
    assert f"{recordings / 'utd_mhad'} (depth)" in after.stdout
    assert "frames of 32²" in after.stdout


def test_prepare_says_what_it_leaves_out(data: Data, card_path: Path, own_recordings: Path):
    (own_recordings / "utd_mhad/Inertial/a1_s1_t1_inertial.mat").write_bytes(b"\0" * 200)
    arguments = ("prepare", card_path, "--data-dir", own_recordings, "--frame-size", 16, "--frames", 4, "--jobs", 1)
    refused = data(*arguments)
    assert refused.returncode == 3
    assert "trial a1_s1_t1: Inertial/a1_s1_t1_inertial.mat" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = data(*arguments, "--exclude-broken")
    assert done.returncode == 0, done.stderr
    assert "23 trials" in done.stdout
    assert "1 trial excluded: a1_s1_t1" in done.stdout


def test_verify_exits_3_where_files_differ(data: Data, card_path: Path, own_recordings: Path, tmp_path: Path):
    assert data("prepare", card_path, "--data-dir", own_recordings, "--preset", "smoke").returncode == 0
    sound = data("verify", card_path, "--data-dir", own_recordings)
    assert sound.returncode == 0, sound.stderr
    assert "everything is as it should be" in sound.stdout
    assert "48 files not in the manifest" in sound.stdout
    (own_recordings / "utd_mhad/Depth/a3_s4_t2_depth.mat").unlink()
    missing = data("verify", card_path, "--data-dir", own_recordings)
    assert missing.returncode == 3
    assert "Depth/a3_s4_t2_depth.mat: missing" in missing.stderr
    video = next((tmp_path / "cache").glob("prepared/*/video.npy"))
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)
    damaged = data("verify", card_path, "--data-dir", own_recordings)
    assert damaged.returncode == 3
    assert "trial a3_s4_t2 is not what was written" in damaged.stderr


def test_verify_compares_with_the_shipped_manifest(data: Data, own_recordings: Path):
    # The files of the tests bear names of real ones and hold something else.
    done = data("verify", "utd_mhad", "--data-dir", own_recordings)
    assert done.returncode == 3
    assert "Inertial/a1_s1_t1_inertial.mat: sha256" in done.stderr
    assert "Skeleton/ is not there (862 files)" in done.stdout
    assert "Depth/a27_s1_t1_depth.mat: missing" in done.stderr


def test_preview_writes_a_png(data: Data, card_path: Path, recordings: Path, tmp_path: Path):
    done = data("preview", card_path, "--data-dir", recordings, "--preset", "smoke", "--trial", "a2_s2_t2")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "utd_mhad-preview.png").read_bytes().startswith(b"\x89PNG")
    assert data("preview", card_path, "--data-dir", recordings, "--preset", "smoke", "--trial", "x").returncode == 2


def test_pack_makes_a_data_folder(data: Data, card_path: Path, recordings: Path, tmp_path: Path):
    done = data(
        "pack", card_path, "--data-dir", recordings, "--max-mib", 1, "--preset", "smoke", "--out", tmp_path / "p"
    )
    assert done.returncode == 0, done.stderr
    assert "24 trials in" in done.stdout
    assert "do not pass the recordings on" in done.stdout
    again = data("prepare", card_path, "--data-dir", tmp_path / "p", "--preset", "smoke")
    assert "from a packed copy: depth" in again.stdout
    assert "everything is as it should be" in data("verify", card_path, "--data-dir", tmp_path / "p").stdout


def test_knobs_of_generated_data(data: Data):
    done = data("prepare", "motionsim", "--preset", "smoke", "--option", "actions=2", "--option", "subjects=2")
    assert done.returncode == 0, done.stderr
    assert "motionsim: 16 trials" in done.stdout
    assert data("prepare", "motionsim", "--option", "actors=2").returncode == 2


@pytest.mark.parametrize("arguments", [("prepare", "utd_mahd"), ("prepare", "utd_mhad", "--preset", "tiny")])
def test_misspelt_names_are_usage_errors(data: Data, arguments: tuple[str, ...]):
    done = data(*arguments)
    assert done.returncode == 2
    assert "unknown" in done.stderr


def test_missing_recordings_exit_3(data: Data):
    done = data("prepare", "utd_mhad")
    assert done.returncode == 3
    assert "UTD-MHAD.html" in done.stderr


def test_help_is_quick_and_imports_nothing_heavy():
    began = time.perf_counter()
    assert (
        "prepare"
        in subprocess.run(
            [sys.executable, "-m", "kdbench", "data", "--help"], capture_output=True, text=True, check=True
        ).stdout
    )
    assert time.perf_counter() - began < 5
    code = (
        "import sys, kdbench.cli.data, kdbench.data.card, kdbench.util.paths\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'scipy', 'matplotlib', 'av') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_preparing_imports_no_torch():
    code = (
        "import sys, kdbench.data.splits, kdbench.data.store.prepare, kdbench.data.store.open\n"
        "import kdbench.data.readers.utd_mhad\n"
        "print([m for m in ('torch', 'pandas', 'scipy', 'matplotlib', 'av') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_who_tells_which_files_are_missing(data: Data, card_path: Path, own_recordings: Path):
    (own_recordings / "utd_mhad/Depth/a3_s4_t2_depth.mat").unlink()
    told = data("who", card_path, "--data-dir", own_recordings)
    assert told.returncode == 0, told.stderr
    heads, *rows = (line.split() for line in told.stdout.splitlines())
    depth = heads.index("video:depth")
    assert {row[0]: row[depth] for row in rows if row[depth] != row[1]}.keys() == {"4", "all"}
    single = data("who", card_path, "--data-dir", own_recordings, "--trials").stdout
    assert next(line.split()[depth] for line in single.splitlines() if line.startswith("a3_s4_t2 ")) == "0"
