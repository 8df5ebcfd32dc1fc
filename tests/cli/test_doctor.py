"""`kdbench doctor`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _a_clean_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KDBENCH_DATA", "MLFLOW_TRACKING_URI", "KDBENCH_TRACKING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KDBENCH_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)


def _line(out: str, start: str) -> tuple[str, str]:
    """Status and finding of a line, joined with the next step below it."""
    lines = out.splitlines()
    for number, line in enumerate(lines):
        if line[5:].startswith(f"{start}: "):
            following = lines[number + 1] if number + 1 < len(lines) else ""
            step = following.strip() if following.strip().startswith("→") else ""
            return line[:5].strip(), f"{line} {step}"
    raise AssertionError(f"no line '{start}' in\n{out}")


def test_a_fresh_installation_is_sound(kdbench: Callable[..., Any], tmp_path: Path) -> None:
    done = kdbench("doctor")
    assert done.code == 0
    assert done.out.splitlines()[-1].endswith(" 0 errors")
    for what in ("Python", "torch", "GPU", "libraries", "registered", "plugins", "prepared data", "MLflow"):
        assert _line(done.out, what)[0] == "ok"
    assert _line(done.out, "data set motionsim")[0] == "ok"
    status, text = _line(done.out, "data set utd_mhad")
    assert status == "warn"
    assert "kdbench data download utd_mhad" in text
    assert not (tmp_path / "runs").exists()


def test_data_that_are_there_are_found(kdbench: Callable[..., Any], data_dir: Path) -> None:
    status, text = _line(kdbench("doctor", "--data-dir", str(data_dir)).out, "data set utd_mhad")
    assert status == "ok"
    assert str((data_dir / "utd_mhad").resolve()) in text
    assert "accelerometer, gyroscope; depth" in text


def test_a_folder_that_cannot_be_written_is_broken(kdbench: Callable[..., Any]) -> None:
    done = kdbench("doctor", "--out", "/proc/kdbench")
    assert done.code == 1
    status, text = _line(done.out, "runs folder")
    assert status == "fail"
    assert "/proc/kdbench cannot be written" in text
    assert "KDBENCH_HOME=FOLDER" in text


def test_an_unreachable_tracking_server_is_to_know_of_and_its_password_is_kept(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    done = kdbench("doctor")
    assert done.code == 0
    status, text = _line(done.out, "MLflow")
    assert status == "warn"
    assert "http://127.0.0.1:9 does not answer" in text
    assert "KDBENCH_TRACKING=off" in text
    assert "secret" not in done.out


def test_tracking_that_is_off_and_a_broken_store(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "mlflow.db").write_bytes(b"no database" * 1000)
    status, text = _line(kdbench("doctor").out, "MLflow")
    assert status == "warn"
    assert "not a database" in text
    monkeypatch.setenv("KDBENCH_TRACKING", "off")
    assert _line(kdbench("doctor").out, "MLflow") == ("ok", "ok   MLflow: switched off by $KDBENCH_TRACKING ")


def test_plugins_are_named_and_not_imported(
    kdbench: Callable[..., Any], install: Callable[..., None], tmp_path: Path
) -> None:
    mark = tmp_path / "imported"
    source = f"open({str(mark)!r}, 'w').close()\nraise SystemExit('no')\n"
    install("rude_kd", source, "[kdbench.losses]\nrude = rude_kd:rude\n[kdbench.datasets]\nworld = rude_kd:World\n")
    done = kdbench("doctor")
    assert done.code == 0
    status, text = _line(done.out, "plugins")
    assert status == "ok"
    assert "rude (rude_kd 1.5)" in text
    assert "kdbench list --broken" in text
    assert "of the plugin rude_kd 1.5" in _line(done.out, "data set world")[1]
    assert not mark.exists()


def test_an_entry_point_that_cannot_be_right_is_named(
    kdbench: Callable[..., Any], install: Callable[..., None]
) -> None:
    install("odd_kd", "", "[kdbench.losses]\nodd = odd_kd\n")
    status, text = _line(kdbench("doctor").out, "broken plugin")
    assert status == "warn"
    assert "odd of losses (odd_kd 1.5): its entry point is 'odd_kd', expected module:attribute" in text


def test_environment_variables_are_listed_and_misspelt_ones_found(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KDBENCH_DATAS", "/somewhere")
    monkeypatch.setenv("KDBENCH_STORAGE", "postgresql+psycopg://me:secret@host/name")
    said = kdbench("doctor").out
    assert "Did you mean KDBENCH_DATA?" in _line(said, "KDBENCH_DATAS")[1]
    assert "secret" not in said
    assert "me:***@host" in _line(said, "KDBENCH_STORAGE")[1]
    assert "KDBENCH_PLUGINS" in _line(said, "environment variables that are not set")[1]


def test_every_environment_variable_that_is_read_is_in_the_help(kdbench: Callable[..., Any]) -> None:
    import kdbench as package

    sources = [path.read_text() for path in Path(package.__file__).parent.rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"KDBENCH_[A-Z]+", text)} - {"KDBENCH_TIED"}
    said = kdbench("--help").out
    assert [name for name in sorted(read) if name not in said] == []


def test_a_library_that_is_missing_is_broken(kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.cli.doctor.LIBRARIES", ("numpy", "no-such-library"))
    done = kdbench("doctor")
    assert done.code == 1
    status, text = _line(done.out, "libraries that are missing")
    assert status == "fail"
    assert "pip install no-such-library" in text


def test_a_check_that_breaks_does_not_hide_the_others(
    kdbench: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> list[Any]:
        raise RuntimeError("out of order")

    monkeypatch.setattr("kdbench.data.store.layout.stores", fail)
    done = kdbench("doctor")
    assert done.code == 1
    assert "RuntimeError: out of order" in _line(done.out, "prepared data")[1]
    assert _line(done.out, "MLflow")[0] == "ok"
