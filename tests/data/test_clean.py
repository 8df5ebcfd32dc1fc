"""`kdbench data clean`, and what is still open or being made meanwhile."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np
import pytest

from kdbench.cli import main
from kdbench.data.store import clean
from kdbench.data.store.open import open_dataset


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `kdbench data clean` in this process, where nobody can be asked."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as caught:
            main(["data", "clean", *arguments])
        return subprocess.CompletedProcess(arguments, int(caught.value.code or 0), *capfd.readouterr())

    return call


def answered(answer: bytes, *arguments: str) -> tuple[int, str]:
    """The command in a terminal of its own, in which somebody answers its question: the exit code and what it shows."""
    terminal, inside = pty.openpty()

    def own_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", "data", "clean", *arguments],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
        preexec_fn=own_the_terminal,
    )
    os.close(inside)
    said, asked = b"", False
    # Reading fails where the command has left the terminal.
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            said += part
            if b"[y/N]" in said and not asked:
                asked = True
                os.write(terminal, answer)
    os.close(terminal)
    assert asked
    return process.wait(60), said.decode()


@pytest.fixture(scope="module")
def shelf(card_path: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A store of UTD-MHAD, one whose recordings are gone, one of BasicMotions, and half a one; not to be changed."""
    cache = tmp_path_factory.mktemp("prepared")
    gone = Path(shutil.copytree(recordings, cache / "own"))

    def opened(folder: Path) -> Path:
        return open_dataset(str(card_path), data_dir=folder, frame_size=16, frames=4, progress=False).folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KDBENCH_CACHE", str(cache))
        made = {"utd": opened(recordings), "gone": opened(gone)}
        made["basic"] = open_dataset("basic_motions", progress=False).folder
    shutil.rmtree(gone)
    made["half"] = made["utd"].with_name("utd_mhad-depth-64x16-0123456789")
    (made["half"] / "parts").mkdir(parents=True)
    (made["half"] / "parts/a1_s1_t1.npz").write_bytes(bytes(1000))
    return made


@pytest.fixture
def stores(shelf: dict[str, Path], cache: Path) -> dict[str, Path]:
    """A copy of what is prepared, in the test's own cache."""
    shutil.copytree(shelf["utd"].parent, cache / "prepared", ignore=shutil.ignore_patterns("*.lock"))
    return {name: cache / "prepared" / folder.name for name, folder in shelf.items()}


def test_what_is_prepared_and_whether_it_can_be_made_again(stores: dict[str, Path]):
    listed = {store.folder: store for store in clean.prepared_stores()}
    assert set(listed) == set(stores.values())
    assert listed[stores["half"]].meta is None
    assert listed[stores["half"]].bytes == 1000
    assert {name for name, folder in stores.items() if not listed[folder].remakable} == {"gone"}
    assert [store.dataset for store in clean.prepared_stores("basic_motions")] == ["basic_motions"]


def test_an_open_data_set_keeps_its_data_and_one_that_is_being_made_stays(
    stores: dict[str, Path], card_path: Path, recordings: Path
):
    data = open_dataset(str(card_path), data_dir=recordings, frame_size=16, frames=4, progress=False)
    before = np.array(data.clip("a1_s1_t1"))
    listed = {store.folder: store for store in clean.prepared_stores()}
    with filelock.FileLock(f"{stores['half']}.lock"):
        assert not clean.remove(listed[stores["half"]])
    assert clean.remove(listed[stores["utd"]])
    assert not stores["utd"].exists()
    assert stores["half"].exists()
    assert np.array_equal(data.clip("a1_s1_t1"), before)


def test_the_command_asks_first(stores: dict[str, Path], command: Callable[..., subprocess.CompletedProcess[str]]):
    unasked = command()
    assert unasked.returncode == 2
    assert "nobody can be asked" in unasked.stderr
    assert all(folder.exists() for folder in stores.values())
    assert "its recordings are gone" in unasked.stdout
    assert "interrupted" in unasked.stdout
    one = command("basic_motions", "--yes")
    assert one.returncode == 0, one.stderr
    assert "removed 1 folder" in one.stdout
    assert {name for name, folder in stores.items() if folder.exists()} == {"utd", "gone", "half"}
    assert command("--yes").returncode == 0
    assert not any(folder.exists() for folder in stores.values())
    assert "nothing is prepared" in command().stdout
    assert command("utd_mahd").returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"n\n", 0, "nothing is removed"),
        (b"\n", 0, "nothing is removed"),
        (b"\x03", 130, "interrupted; nothing is removed"),
        (b"\x04", 130, "interrupted; nothing is removed"),
    ],
    ids=["no", "return", "ctrl-c", "end of input"],
)
def test_whoever_does_not_agree_keeps_everything(stores: dict[str, Path], answer: bytes, code: int, words: str):
    ended, said = answered(answer)
    assert (ended, words in said) == (code, True), said
    assert "Remove 4 folders" in said
    assert all(folder.exists() for folder in stores.values())


@pytest.mark.slow
def test_whoever_agrees_is_told_what_was_removed_and_what_stayed(stores: dict[str, Path]):
    with filelock.FileLock(f"{stores['half']}.lock"):
        code, said = answered(b"perhaps\ny\n")
    assert code == 0, said
    assert f"{stores['half'].name} is being prepared by another process, and stays" in said
    assert "removed 3 folders" in said
    assert {name for name, folder in stores.items() if folder.exists()} == {"half"}
