"""One file over the network: resumable, checked, from the first of several addresses that has it.

What has arrived stays in `FILE.part`, with `FILE.part.json` beside it, and becomes `FILE` only when size and hash are
right. An interrupted or cut-off download goes on where it was: by the hash where one is known, else only where the
server proves by its ETag or date that it still has the same file.

Certificates are those of the system's OpenSSL; `SSL_CERT_FILE` names others. Proxies are taken from the environment.

No library keeps these promises: pooch neither goes on with a half file nor tries a second address; the retries of
urllib3 and requests begin anew, count attempts instead of progress, and know no time for a whole answer.
"""

from __future__ import annotations

import http.client
import json
import queue
import re
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kdbench import __version__
from kdbench.data.store.lock import locked
from kdbench.data.store.progress import byte_progress
from kdbench.errors import DataError, RunFailed, shortened
from kdbench.text.wording import counted
from kdbench.util import files

TRIES = 4
"""Attempts at one address in a row that bring nothing new."""
BACKOFF_SECONDS = 0.25
"""Before another attempt; doubled with each that brings nothing new."""
TIMEOUT_SECONDS = 30
ANSWER_SECONDS = 60
"""Until the answer's headers are there, redirects included: a server may send them byte by byte."""
SLOW_SECONDS = 60
LEAST_RATE = 2**10
"""Bytes per second, over `SLOW_SECONDS`, below which an address is given up."""
REDIRECTS = 5
LARGEST = 2**36
"""Bytes that are taken of a file whose size nobody has stated."""
_CHUNK = 2**18
_MIB = 2**20
_SLOW_DOWN = {408, 425, 429, 500, 502, 503, 504}
ELSEWHERE = "--data-dir FOLDER puts the recordings elsewhere."


class _Refused(Exception):
    """This address will not do; the next one may."""


class _Cut(Exception):
    """The transfer stopped and may go on."""


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    vouched: bool = False,
    shown: bool = True,
) -> None:
    """Downloads a file, unless it is there and right.

    Args:
        urls: Addresses that are tried in this order: `https`, and `http` only where what arrives can be told from what
            was sent.
        path: Where it is put.
        size: Its bytes, where they are known.
        sha256: Its hash, where it is known.
        vouched: The caller checks each file inside by a hash of its own.
        shown: Show progress and notes.

    Raises:
        DataError: No address gave the right file; each is named with the reason. A file with the wrong hash is removed.
        RunFailed: The disk is full, or the folder cannot be written.
    """
    with locked(path, f"downloads {path.name}", shown=shown, elsewhere=ELSEWHERE):
        if path.is_file() and (size, sha256) != (None, None) and _wrong(path, size, sha256) is None:
            return
        reasons = []
        for url in urls:
            try:
                check_address(url, vouched=vouched or sha256 is not None)
                _from_address(url, path, size, sha256, shown=shown)
                return
            except _Refused as error:
                reasons.append(f"{url}: {error}")
    raise DataError(
        f"{path.name} could not be downloaded:\n  " + "\n  ".join(reasons),
        hint="Repeat the command: it goes on where it was. Or get the file by hand, and check it.",
    )


def _from_address(url: str, path: Path, size: int | None, sha256: str | None, *, shown: bool) -> None:
    part = _part(path)
    for last in (False, True):
        resumed = _transfer(url, path, size, sha256, shown=shown)
        reason = _wrong(part, size, sha256)
        if reason is None:
            _note_of(path).unlink(missing_ok=True)
            part.replace(path)
            return
        _discard(path)
        # Two halves of unlike files have the wrong hash: once more, from the beginning.
        if last or not resumed:
            raise _Refused(f"{reason}; what arrived was removed")


def check_address(url: str, *, vouched: bool) -> None:
    """Refuses an address that is not `https`, or `http` to what a hash vouches for.

    Raises:
        _Refused: It is another one.
    """
    scheme = urllib.parse.urlsplit(url).scheme.lower()
    if scheme != "https" and not (scheme == "http" and vouched):
        why = "http to what no known hash vouches for" if scheme == "http" else f"'{scheme}' instead of https"
        raise _Refused(f"not tried: {why} is not safe")


def _transfer(url: str, path: Path, size: int | None, sha256: str | None, *, shown: bool) -> bool:
    """Brings the whole file into `FILE.part`; returns whether a part of it was there before."""
    part, resumed, tries = _part(path), False, 0
    with byte_progress(path.name, size, shown=shown) as at:
        while True:
            before = _length(part)
            try:
                resumed |= _once(url, path, size, sha256, at)
                return resumed
            except _Cut as error:
                tries = 0 if _length(part) > before else tries + 1
                if tries >= TRIES:
                    raise _Refused(f"{error} ({TRIES} attempts)") from error
                time.sleep(BACKOFF_SECONDS * 2**tries)


def _once(url: str, path: Path, size: int | None, sha256: str | None, at: Callable[[int, int | None], None]) -> bool:
    part, arrived = _part(path), _length(_part(path))
    known = _read_note(path)
    validator = known.get("validator") if known.get("url") == url else None
    if arrived and ((sha256 is None and validator is None) or (size is not None and arrived > size)):
        _discard(path)
        arrived = 0
    if arrived and arrived == size:
        return True
    headers = {"User-Agent": f"kdbench/{__version__}", "Accept-Encoding": "identity"}
    if arrived:
        headers["Range"] = f"bytes={arrived}-"
        if validator:
            headers["If-Range"] = str(validator)
    try:
        request = urllib.request.Request(url, headers=headers)
        with _answer(request) as response:
            total = _total(response, arrived)
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                arrived = 0
            if size is not None and total is not None and total != size:
                raise _Refused(f"it has {counted(total, 'byte')} there, {counted(size, 'byte')} expected")
            total = size if total is None else total
            _check_space(path, (total or 0) - arrived)
            _write_note(path, url, response.headers)
            _receive(response, part, arrived, total, at)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and arrived:
                if error.headers.get("Content-Range") == f"bytes */{arrived}":
                    return True
                _discard(path)
                raise _Cut("it refused to go on with the half file") from error
            kind: type[Exception] = _Cut if error.code in _SLOW_DOWN else _Refused
            raise kind(f"the server answered {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({error.reason.verify_message}); SSL_CERT_FILE=FILE adds others"
            raise _Refused(why) from error
        raise _Cut(f"no connection: {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError, ValueError) as error:
        raise _Cut(f"the connection broke: {type(error).__name__}: {error}") from error
    return arrived > 0


def _receive(
    response: http.client.HTTPResponse,
    part: Path,
    arrived: int,
    total: int | None,
    at: Callable[[int, int | None], None],
) -> None:
    try:
        file = part.open("r+b" if arrived else "wb", buffering=0)
    except OSError as error:
        raise files.unwritable(error, part, elsewhere=ELSEWHERE) from error
    with file:
        file.seek(arrived)
        at(arrived, total)
        since, before = time.monotonic(), arrived
        # Whatever is there, instead of waiting for a whole chunk that may never come.
        while chunk := response.read1(_CHUNK):
            arrived += len(chunk)
            if (passed := time.monotonic() - since) >= SLOW_SECONDS:
                if arrived - before < LEAST_RATE * passed:
                    raise _Refused(f"it sends less than {LEAST_RATE} bytes per second")
                since, before = time.monotonic(), arrived
            if arrived > (LARGEST if total is None else total):
                file.truncate(0)
                raise _Refused(f"it sent more than the {total or LARGEST} bytes that were expected")
            try:
                rest = memoryview(chunk)
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise files.unwritable(error, part, size=total, elsewhere=ELSEWHERE) from error
            at(arrived, total)
    if total is not None and arrived < total:
        raise _Cut(f"it was cut off after {arrived} of {counted(total, 'byte')}")


def _total(response: Any, start: int) -> int | None:
    """Bytes of the whole file, as the server states them.

    Raises:
        _Refused: The answer is not the plain file.
        _Cut: The server goes on somewhere else than was asked; the half file is useless there.
    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _Refused(f"it is sent as {response.headers['Content-Encoding']}, which was not asked for")
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes ([0-9]{1,15})-[0-9]+/([0-9]+|\*)", response.headers.get("Content-Range", ""))
        if not span or int(span[1]) != start:
            raise _Refused(f"it sent '{response.headers.get('Content-Range')}' when asked from byte {start} on")
        return None if span[2] == "*" else _stated(span[2])
    if response.status != http.HTTPStatus.OK:
        raise _Refused(f"the server answered {response.status}")
    length = response.headers.get("Content-Length", "")
    return _stated(length) if re.fullmatch(r"[0-9]+", length) else None


def _stated(digits: str) -> int:
    """A size that a server states.

    Raises:
        _Refused: No file has it.
    """
    if len(digits) > len(str(LARGEST)) or int(digits) > LARGEST:
        raise _Refused(f"it states a size of {shortened(digits, 30)} bytes, at most {LARGEST} are taken")
    return int(digits)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urllib.parse.urlsplit(newurl).scheme.lower() != "https":
            raise _Refused(f"it redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _answer(request: urllib.request.Request) -> Any:
    """The answer to a request, once its headers are there.

    Raises:
        TimeoutError: They are not there in time.
    """
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=ssl.create_default_context()), _SafeRedirects()
    )
    outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            outcome.put(opener.open(request, timeout=min(TIMEOUT_SECONDS, ANSWER_SECONDS)))
        except Exception as error:
            outcome.put(error)

    # A time-out of a socket begins anew with each byte; the thread of a server that drips is left to itself.
    threading.Thread(target=ask, name="kdbench-fetch", daemon=True).start()
    try:
        answer = outcome.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _wrong(path: Path, size: int | None, sha256: str | None) -> str | None:
    """What is wrong with a file; None where nothing is."""
    if size is not None and _length(path) != size:
        return f"it has {counted(_length(path), 'byte')}, expected {size}"
    if sha256 is not None and (actual := files.sha256_of(path)) != sha256:
        return f"its sha256 is {actual}, expected {sha256}"
    return None


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise RunFailed(
            f"{path.name} needs {needed // _MIB + 1} MiB in {path.parent}, {free // _MIB} MiB are free",
            hint=f"Free some space and repeat the command. {ELSEWHERE}",
        )


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _note_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _discard(path: Path) -> None:
    _part(path).unlink(missing_ok=True)
    _note_of(path).unlink(missing_ok=True)


def _read_note(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(_note_of(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_note(path: Path, url: str, headers: Any) -> None:
    etag = headers.get("ETag", "")
    # A weak ETag says nothing about bytes.
    validator = etag if etag.startswith('"') else headers.get("Last-Modified")
    with files.whole(_note_of(path), elsewhere=ELSEWHERE) as file:
        file.write(json.dumps({"url": url, "validator": validator}).encode())
