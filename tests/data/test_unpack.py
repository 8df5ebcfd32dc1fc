"""Archives that are not what they should be: nothing leaves the folder, nothing fills the disk."""

from __future__ import annotations

import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from kdbench.data.download import unpack as module
from kdbench.data.download.unpack import unpack
from kdbench.errors import DataError, RunFailed


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            # ZipInfo's constructor would mend the name.
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "archive.zip"


def refused(archive: Path, message: str) -> None:
    """The archive is refused, and nothing is anywhere."""
    place = archive.parent / "deep" / "folder"
    with pytest.raises(DataError, match=message):
        unpack(archive, place)
    written = {path for path in archive.parent.rglob("*") if path.is_file()} - {archive}
    assert not written


def test_files_are_unpacked_and_rubbish_is_not(archive: Path, tmp_path: Path):
    entries = {"A/": b"", "A/one.mat": b"1" * 100, "A/b/two.mat": b"2", "__MACOSX/A/._one.mat": b"", "A/.DS_Store": b""}
    counted: list[None] = []
    found = unpack(zipped(archive, entries), tmp_path / "to", advance=lambda: counted.append(None))
    assert found == ["A/one.mat", "A/b/two.mat"]
    assert len(counted) == 2
    assert (tmp_path / "to/A/one.mat").read_bytes() == b"1" * 100
    assert sorted(p.name for p in (tmp_path / "to").rglob("*") if p.is_file()) == ["one.mat", "two.mat"]


@pytest.mark.parametrize(
    "name",
    [
        *("../out", "a/../../out", "a/..", "/etc/out", "//host/out", "C:/out", "C:out", "a/b:stream", "..\\out"),
        *("a\\..\\..\\out", "\\out", "./out", "a//out", "a/\nout", "a/out ", " ", "a/\x7fout"),
    ],
)
def test_no_path_leaves_the_folder(archive: Path, name: str):
    zipped(archive, {"fine": b"fine", name: b"out"})
    refused(archive, "is not a plain path inside the archive; nothing was unpacked")


def test_a_zero_byte_does_not_cut_a_name(archive: Path):
    zipped(archive, {"fine": b"", "a/Xout": b"out"})
    archive.write_bytes(archive.read_bytes().replace(b"a/Xout", b"a/\0out"))
    refused(archive, "is not a plain path inside the archive")


@pytest.mark.parametrize(
    ("mode", "what"),
    [(stat.S_IFLNK, "a symbolic link"), (stat.S_IFCHR, "no plain file"), (stat.S_IFIFO, "no plain file")],
)
def test_links_and_devices_are_refused(archive: Path, mode: int, what: str):
    with zipfile.ZipFile(archive, "w") as content:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (mode | 0o777) << 16
        content.writestr(entry, "/etc/passwd")
        content.writestr("link/file", "through the link")
    refused(archive, f"'link' is {what}")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(("first", "second"), [("a/file", "a/file"), ("a/file", "A/FILE")])
def test_two_entries_of_one_name_are_refused(archive: Path, first: str, second: str):
    with zipfile.ZipFile(archive, "w") as content:
        content.writestr(first, "1")
        content.writestr(second, "2")
    refused(archive, "has two entries for")


def test_a_file_that_is_also_a_folder_is_refused(archive: Path):
    refused(zipped(archive, {"a": b"file", "a/b": b"below it"}), "'a' is a file and a folder at once")


def test_a_bomb_is_refused_by_its_list(archive: Path):
    refused(zipped(archive, {"bomb": bytes(2**26)}), r"would unpack from 0\.1 to 64 MiB; .* taken for a bomb")


def test_a_bomb_whose_list_lies_is_stopped_while_it_is_written(archive: Path, tmp_path: Path):
    zipped(archive, {"bomb": bytes(2**26)})
    honest, lie = struct.pack("<L", 2**26), struct.pack("<L", 1000)
    content = archive.read_bytes()
    assert honest in content
    archive.write_bytes(content.replace(honest, lie))
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "to")
    assert sum(path.stat().st_size for path in (tmp_path / "to").rglob("*") if path.is_file()) <= 2**18


def test_too_many_entries_are_refused(archive: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    refused(zipped(archive, {str(n): b"" for n in range(4)}), "lists 4 entries, at most 3 are taken")


def test_an_encrypted_entry_is_refused(archive: Path):
    zipped(archive, {"secret": b"x"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(content)
    refused(archive, "'secret' is encrypted")


def damaged(content: bytes) -> bytes:
    return content[:60] + bytes(20) + content[80:]


@pytest.mark.parametrize(
    "damage", [lambda c: c[: len(c) // 2], lambda c: c[:0], lambda c: c[:0] + b"<html>" * 50, damaged]
)
def test_what_is_no_whole_archive_is_refused(archive: Path, tmp_path: Path, damage):
    import random

    zipped(archive, {"file": random.Random(0).randbytes(10_000)})
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(DataError, match=r"archive\.zip is not a whole zip archive"):
        unpack(archive, tmp_path / "to")


def test_too_little_space_is_found_before(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    zipped(archive, {"file": bytes(2**20)})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=1000))
    with pytest.raises(RunFailed, match=r"needs 2 MiB in .*, 0 MiB are free"):
        unpack(archive, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_list_that_points_before_the_beginning_is_damage_and_no_failed_write(tmp_path: Path):
    path = tmp_path / "cut.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", "x" * 100)
    path.write_bytes(path.read_bytes()[20:])
    with pytest.raises(DataError, match=r"cut\.zip is not a whole zip archive"):
        unpack(path, tmp_path / "out")
