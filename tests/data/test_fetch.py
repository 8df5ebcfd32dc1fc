"""One file from a server that behaves, and from servers that do not."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest
from webserver import Page, Server, certificate, serving

from kdbench.data.download import fetch as module
from kdbench.data.download.fetch import fetch
from kdbench.errors import DataError, RunFailed

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def server(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server whose certificate is trusted, as a user would trust it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0)
    with serving(pem) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "got" / "file.zip"


def left(path: Path) -> set[str]:
    """Names beside the file, locks aside."""
    return {found.name for found in path.parent.iterdir() if found.suffix != ".lock"}


def test_a_file_arrives_whole(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT)
    fetch([f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert left(path) == {"file.zip"}
    fetch([f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256)
    assert len(server.asked) == 1


def test_a_cut_off_download_goes_on_where_it_was(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT, etag='"one"', cut_after=1_000_000)
    fetch([f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT
    assert server.ranges_of("/file.zip") == [None, "bytes=1000000-", "bytes=2000000-"]


def test_without_a_hash_it_goes_on_only_where_the_file_is_the_same(server: Server, path: Path):
    page = server.pages["/file.zip"] = Page(CONTENT, etag='"one"')
    address = f"{server.address}/file.zip"
    path.parent.mkdir()
    for etag, note, expected in [
        ('"one"', '"one"', "bytes=1000-"),
        ('"two"', '"one"', "bytes=1000-"),
        ('"one"', None, None),
    ]:
        path.unlink(missing_ok=True)
        page.etag = etag
        path.with_name("file.zip.part").write_bytes((CONTENT if etag == note else b"x" * 1000)[:1000])
        text = f'{{"url": "{address}", "validator": "\\{note[:-1]}\\""}}' if note else "{}"
        path.with_name("file.zip.part.json").write_text(text)
        fetch([address], path, shown=False)
        assert path.read_bytes() == CONTENT
        assert server.asked[-1][1] == expected


def test_a_half_file_of_another_version_is_thrown_away(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT)
    path.parent.mkdir()
    path.with_name("file.zip.part").write_bytes(b"other" * 1000)
    fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT
    assert server.ranges_of("/file.zip") == ["bytes=5000-", None]


@pytest.mark.parametrize("held", [len(CONTENT), len(CONTENT) + 5])
def test_a_part_that_is_whole_or_too_long(server: Server, path: Path, held: int):
    server.pages["/file.zip"] = Page(CONTENT)
    path.parent.mkdir()
    path.with_name("file.zip.part").write_bytes((CONTENT + b"12345")[:held])
    fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT, ranges=False)
    path.parent.mkdir()
    path.with_name("file.zip.part").write_bytes(CONTENT[:1000])
    fetch([f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (Page(CONTENT[:-1] + b"?"), f"its sha256 is .*, expected {SHA256}; what arrived was removed"),
        (Page(CONTENT[:-1]), "it has 2999999 bytes there, 3000000 bytes expected"),
        (Page(CONTENT[:-1], headers={"Content-Length": ""}), "cut off after 2999999 of 3000000 bytes|has 2999999"),
        (Page(CONTENT + b"?", headers={"Content-Length": ""}), "it sent more than the 3000000 bytes"),
        (Page(CONTENT, cut_after=0), r"cut off after 0 of 3000000 bytes \(4 attempts\)"),
        (Page(status=404), "the server answered 404"),
        (Page(status=503), r"the server answered 503 .*\(4 attempts\)"),
        (Page(CONTENT, headers={"Content-Encoding": "gzip"}), "it is sent as gzip"),
        (
            Page(status=302, location="http://localhost/file.zip"),
            "redirects to http://localhost/file.zip, which is not",
        ),
        (Page(status=302, location="file:///etc/hosts"), "Redirection to url 'file:///etc/hosts' is not allowed"),
        (Page(status=302, location="/file.zip"), "the server answered 302 .*infinite loop"),
    ],
)
def test_what_is_wrong_is_refused_and_leaves_nothing(server: Server, path: Path, page: Page, reason: str):
    server.pages["/file.zip"] = page
    with pytest.raises(DataError, match=reason) as caught:
        fetch([f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256, shown=False)
    assert f"{server.address}/file.zip: " in caught.value.message
    assert not path.exists()
    part = path.with_name("file.zip.part")
    assert not part.exists() or part.stat().st_size < len(CONTENT)


def test_a_range_that_was_not_asked_for_is_refused(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT, headers={"Content-Range": "bytes 0-9/10"})
    path.parent.mkdir()
    path.with_name("file.zip.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match="sent 'bytes 0-9/10' when asked from byte 1000 on"):
        fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)


def test_the_next_address_is_tried(server: Server, path: Path):
    server.pages["/bad"] = Page(b"bad")
    server.pages["/moved"] = Page(status=301, location=f"{server.address}/file.zip")
    server.pages["/file.zip"] = Page(CONTENT)
    addresses = [f"https://localhost:1/{name}" for name in ("nobody",)] + [
        f"{server.address}/{name}" for name in ("missing", "bad", "moved")
    ]
    fetch(addresses, path, sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT
    assert [asked for asked, _ in server.asked] == ["/missing", "/bad", "/moved", "/file.zip"]


def test_a_half_file_is_gone_on_with_from_another_address(server: Server, path: Path):
    server.pages["/one"] = Page(CONTENT, cut_after=1000, ranges=False)
    server.pages["/two"] = Page(CONTENT)
    fetch([f"{server.address}/one", f"{server.address}/two"], path, sha256=SHA256, shown=False)
    assert server.ranges_of("/two") == ["bytes=1000-"]
    assert path.read_bytes() == CONTENT


def test_a_certificate_that_is_not_trusted_is_refused(pem: Path, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with serving(pem) as server:
        server.pages["/file.zip"] = Page(CONTENT)
        with pytest.raises(DataError, match=r"certificate is not trusted .*SSL_CERT_FILE=FILE"):
            fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert server.asked == []


def test_http_needs_a_hash(path: Path):
    with serving(None) as server:
        server.pages["/file.zip"] = Page(CONTENT)
        address = f"{server.address}/file.zip"
        with pytest.raises(DataError, match="not tried: http to what no known hash vouches for"):
            fetch([address], path, size=len(CONTENT), shown=False)
        assert server.asked == []
        fetch([address], path, sha256=SHA256, shown=False)
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://localhost/file.zip", "data:,x", "/etc/hosts"])
def test_other_kinds_of_addresses_are_never_opened(path: Path, url: str):
    with pytest.raises(DataError, match=r"not tried: .* instead of https is not safe"):
        fetch([url], path, sha256=SHA256, shown=False)


def test_too_little_space_is_found_before(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST", 2**61)
    server.pages["/file.zip"] = Page(CONTENT, headers={"Content-Length": str(2**60)})
    with pytest.raises(RunFailed, match=r"file\.zip needs \d+ MiB in .*, \d+ MiB are free") as caught:
        fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert "--data-dir FOLDER" in str(caught.value.hint)


def test_a_file_that_never_ends_is_stopped(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LARGEST", 1_000_000)
    server.pages["/file.zip"] = Page(CONTENT, headers={"Content-Length": ""})
    with pytest.raises(DataError, match="it sent more than the 1000000 bytes"):
        fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert path.with_name("file.zip.part").stat().st_size == 0


def start(server: Server, path: Path) -> subprocess.Popen[str]:
    code = (
        "import sys; from pathlib import Path; from kdbench.data.download.fetch import fetch\n"
        "fetch([sys.argv[1]], Path(sys.argv[2]), sha256=sys.argv[3])"
    )
    arguments = [sys.executable, "-c", code, f"{server.address}/file.zip", str(path), SHA256]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env={**os.environ})


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_gone_on_with(server: Server, path: Path, sent: signal.Signals):
    page = server.pages["/file.zip"] = Page(CONTENT, etag='"one"', pause=0.2)
    process = start(server, path)
    part, deadline = path.with_name("file.zip.part"), time.monotonic() + 60
    while (not part.exists() or part.stat().st_size == 0) and time.monotonic() < deadline:
        os.sched_yield()
    process.send_signal(sent)
    process.communicate(timeout=60)
    held = part.stat().st_size
    assert 0 < held < len(CONTENT)
    page.pause = 0
    fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert server.asked[-1][1] == f"bytes={held}-"
    assert path.read_bytes() == CONTENT
    assert left(path) == {"file.zip"}


def test_two_at_once_download_once(server: Server, path: Path):
    server.pages["/file.zip"] = Page(CONTENT)
    path.parent.mkdir()
    with filelock.FileLock(f"{path}.lock"):
        process = start(server, path)
        assert process.stderr is not None
        assert "Another process downloads file.zip" in process.stderr.readline()
        assert server.asked == []
        path.write_bytes(CONTENT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert server.asked == []


def test_a_server_that_sends_a_byte_now_and_then_is_left_for_the_next(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.3)
    server.pages["/slow.zip"] = Page(CONTENT, piece=1, pause=0.02)
    server.pages["/file.zip"] = Page(CONTENT)
    begin = time.monotonic()
    fetch([f"{server.address}/slow.zip", f"{server.address}/file.zip"], path, size=len(CONTENT), sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert time.monotonic() - begin < 10


def test_a_slow_server_is_named(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.3)
    server.pages["/slow.zip"] = Page(CONTENT, piece=1, pause=0.02)
    with pytest.raises(DataError, match=r"slow\.zip: it sends less than 1024 bytes per second"):
        fetch([f"{server.address}/slow.zip"], path, sha256=SHA256, shown=False)


def test_headers_that_never_end_are_given_up(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    server.pages["/file.zip"] = Page(drip=True, pause=0.02)
    begin = time.monotonic()
    with pytest.raises(DataError, match=r"no answer within 0\.3 s"):
        fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert time.monotonic() - begin < 10


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ("9" * 30, "it states a size of 9"),
        ("9" * 5000, "it states a size of 9"),
        (str(2**40), "at most 68719476736 are taken"),
        ("1000", "it has 1000 bytes there"),
    ],
)
def test_a_false_length_is_found(server: Server, path: Path, length: str, said: str):
    server.pages["/file.zip"] = Page(CONTENT, headers={"Content-Length": length})
    size = len(CONTENT) if length == "1000" else None
    with pytest.raises(DataError) as caught:
        fetch([f"{server.address}/file.zip"], path, size=size, sha256=SHA256, shown=False)
    assert said in caught.value.message
    assert not path.exists()


@pytest.mark.parametrize("length", ["\xb2", "-5", "1e3", "0x10", " "])
def test_a_length_that_is_no_number_is_passed_over(server: Server, path: Path, length: str):
    server.pages["/file.zip"] = Page(CONTENT, headers={"Content-Length": length})
    fetch([f"{server.address}/file.zip"], path, sha256=SHA256, shown=False)
    assert path.read_bytes() == CONTENT
