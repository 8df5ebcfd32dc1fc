"""The page of a stream, in a browser, at the width of a desk and of a phone; and who may ask for it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import chromium
from exports import an_export, depth_file

import kdbench
from kdbench.errors import UsageError
from kdbench.students.feeds import feeds_of
from kdbench.students.stream import Stream, Watched
from kdbench.students.student import Student
from kdbench.students.web import HOST, Page


@pytest.fixture(scope="module")
def student() -> Student:
    return kdbench.load_student(an_export("student_only", "torch", causal=True).folder)


@pytest.fixture
def page(student: Student) -> Iterator[Page]:
    with Page(student) as served:
        yield served


def watch(student: Student) -> list[Watched]:
    stream = Stream(student, window=0.5, stride=0.2)
    return list(stream.watch(feeds_of(student, [str(depth_file("a1_s2_t1"))], speed=0)))


def asked(page: Page, path: str, host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    port = int(page.address.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    connection.request("GET", path, headers={"Host": host or f"{HOST}:{port}"})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content, dict(answer.getheaders())


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 375])
def test_the_page_shows_each_window_as_it_comes(student: Student, page: Page, width: int) -> None:
    seen = watch(student)
    faults: list[str] = []
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": width, "height": 800})
        tab.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.goto(page.address)
        assert tab.inner_text("#label") == "waiting"
        for number, each in enumerate(seen):
            page.add(each)
            # By the page's own elements: its policy forbids code from elsewhere, also that of a test.
            tab.wait_for_selector(f"#timeline div:nth-child({number + 1})")
            best = student.classes[int(np.argmax(each.smoothed))]
            assert tab.inner_text("#label") == best
            assert best in tab.inner_text("#classes li:first-child")
        tab.wait_for_selector("#shown:not([hidden])")
        # What each colour of the timeline means is said below it.
        painted = {part.evaluate("part => part.style.background") for part in tab.query_selector_all("#timeline div")}
        meant = {
            item.inner_text(): item.query_selector("i").evaluate("patch => patch.style.background")
            for item in tab.query_selector_all("#legend li")
        }
        assert set(meant) == {student.classes[int(np.argmax(each.smoothed))] for each in seen}
        assert set(meant.values()) == painted
        assert len(painted) == len(meant)
        page.end("the recording is over")
        tab.wait_for_selector("text=the recording is over")
        assert tab.evaluate("() => document.querySelector('#shown').naturalWidth") == 32
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
    # The page has no icon, which browsers ask for.
    assert [fault for fault in faults if "404" not in fault] == []


@pytest.mark.slow
def test_the_state_holds_what_is_new(student: Student, page: Page) -> None:
    seen = watch(student)
    for each in seen:
        page.add(each)
    status, content, headers = asked(page, "/state.json?after=0")
    windows = json.loads(content)["windows"]
    assert status == 200
    assert [each["number"] for each in windows] == [each.number for each in seen[1:]]
    assert windows[-1]["label"] == student.classes[int(np.argmax(seen[-1].smoothed))]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert asked(page, "/state.json?after=x")[0] == 400
    assert asked(page, "/shown.png?window=1")[1].startswith(b"\x89PNG")
    assert asked(page, "/shown.png?window=99")[0] == 404


@pytest.mark.slow
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80"])
def test_another_name_that_leads_here_reads_nothing(page: Page, host: str) -> None:
    assert asked(page, "/state.json", host)[0] == 400


@pytest.mark.slow
def test_it_listens_on_this_machine_alone(student: Student, page: Page) -> None:
    assert page.address.startswith("http://127.0.0.1:")
    taken = int(page.address.rstrip("/").rpartition(":")[2])
    with pytest.raises(UsageError, match=f"port {taken} of 127.0.0.1 cannot be used"):
        Page(student, taken)


@pytest.mark.slow
def test_the_command_serves_the_page_until_it_is_stopped(tmp_path: Path) -> None:
    folder = an_export("student_only", "torch", causal=True).folder
    words = ["--input", str(depth_file("a1_s2_t1")), "--web", "--speed", "0", "--report", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "kdbench", "stream", str(folder), *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()[1]
        assert address.startswith("http://127.0.0.1:")
        until = time.monotonic() + 60
        state = {"over": None}
        while state["over"] is None and time.monotonic() < until:
            with urllib.request.urlopen(f"{address}state.json", timeout=10) as answer:
                state = json.load(answer)
        assert state["over"] == "the recording is over"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "stopped" in rest
    assert {path.name for path in tmp_path.iterdir()} == {"windows.csv", "timeline.png"}
