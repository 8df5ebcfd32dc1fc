"""The server of a built site: it shows that site's files, to this machine, under its own name, and nothing else."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench.errors import UsageError
from kdbench.leaderboard import serve
from kdbench.leaderboard.build import MARK
from kdbench.leaderboard.serve import Server, server


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Server]:
    site = tmp_path / "site"
    (site / "folder").mkdir(parents=True)
    (site / MARK).touch()
    (site / "index.html").write_text("<p>the site</p>")
    (site / "folder" / "index.html").write_text("<p>below</p>")
    (tmp_path / "secret.txt").write_text("secret")
    (site / "link.txt").symlink_to(tmp_path / "secret.txt")
    (site / "up").symlink_to(tmp_path)
    os.mkfifo(site / "pipe.html")
    with server(site) as held:
        threading.Thread(target=held.serve_forever, daemon=True).start()
        yield held
        held.shutdown()


def ask(running: Server, request: str) -> tuple[int, str]:
    """Status and text of an answer to a request as it is sent."""
    with socket.create_connection(running.server_address[:2], timeout=10) as line:
        line.sendall(request.encode("latin-1"))
        reply = b""
        while part := line.recv(65536):
            reply += part
    return int(reply.split()[1]), reply.decode("latin-1")


def get(running: Server, path: str, *, method: str = "GET", host: str = "127.0.0.1", more: str = "") -> tuple[int, str]:
    return ask(running, f"{method} {path} HTTP/1.1\r\nHost: {host}:{running.server_address[1]}\r\n{more}\r\n")


@pytest.mark.parametrize("path", ["/", "/index.html", "/?a=b", "//index.html", "/folder/"])
def test_pages_are_shown(running: Server, path: str) -> None:
    status, text = get(running, path)
    assert status == 200
    assert text.endswith("below</p>" if "folder" in path else "the site</p>")
    assert "X-Content-Type-Options: nosniff" in text


def test_head_tells_the_size_and_a_range_gets_the_whole(running: Server) -> None:
    status, text = get(running, "/index.html", method="HEAD")
    assert (status, text.endswith("\r\n\r\n")) == (200, True)
    assert "Content-Length: 15" in text
    assert get(running, "/index.html", more="Range: bytes=0-3\r\n")[1].endswith("<p>the site</p>")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/%00", 400),
        ("/index.html%00.png", 400),
        ("/%ff%fe", 400),
        ("/..%5csecret.txt", 400),
        ("/%0d%0aSet-Cookie:x", 400),
        ("/../secret.txt", 404),
        ("/%2e%2e/secret.txt", 404),
        ("/folder/../../secret.txt", 404),
        ("/link.txt", 404),
        ("/up/secret.txt", 404),
        ("/pipe.html", 404),
        ("/folder", 404),
        (f"/{MARK}", 404),
        ("/nothing", 404),
        ("/" + "a" * 5000, 404),
        ("/index.html/", 404),
        ("/index.html/more", 404),
        ("http://[/", 400),
    ],
)
def test_what_is_no_page_of_the_site_is_refused(running: Server, path: str, status: int) -> None:
    found, text = get(running, path)
    assert found == status
    assert "secret" not in text.partition("\r\n\r\n")[2]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "NONSENSE"])
def test_other_methods_are_refused_by_name(running: Server, method: str) -> None:
    status, text = get(running, "/index.html", method=method)
    assert status == 405
    assert "Allow: GET, HEAD" in text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
def test_its_own_names_are_answered(running: Server, host: str) -> None:
    assert get(running, "/", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "0.0.0.0", "[", ""])
def test_another_name_that_leads_here_is_refused(running: Server, host: str) -> None:
    assert get(running, "/", host=host)[0] == 421


def test_a_request_without_a_name_or_with_two_is_refused(running: Server) -> None:
    assert ask(running, "GET / HTTP/1.0\r\n\r\n")[0] == 421
    assert ask(running, "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")[0] == 421


def test_a_slow_client_is_let_go_and_holds_nobody_up(running: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "SECONDS", 1)
    slow = socket.create_connection(running.server_address[:2], timeout=10)
    started = time.monotonic()
    slow.sendall(b"GET / HTTP/1.1\r\nX: ")
    assert get(running, "/")[0] == 200
    with slow:
        while time.monotonic() - started < 9:
            try:
                slow.sendall(b"a")
                if slow.recv(1) == b"":
                    break
            except OSError:
                break
            time.sleep(0.2)
    assert time.monotonic() - started < 8


def test_it_is_bound_to_this_machine_alone(running: Server) -> None:
    assert running.server_address[0] == "127.0.0.1"


def test_an_address_that_cannot_be_used_says_so(running: Server) -> None:
    with pytest.raises(UsageError, match=f"port {running.server_address[1]}, cannot be used"):
        server(running.site, running.server_address[1])
    with pytest.raises(UsageError, match="cannot be used"):
        server(running.site, 0, "no-such-name.invalid")
