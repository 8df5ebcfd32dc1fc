"""Which frames a clip shows, when, and which way up; and files that are not whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from clips import clip, copied, grey, numbers, trimmed

from kdbench.data.readers import video_file
from kdbench.data.readers.timeline import centre_frames


def shown(content: bytes, count: int = 4) -> tuple[int, list[int]]:
    """How many frames a clip shows, and the numbers of its centre frames."""
    frames, shows, _ = video_file.decode(content, lambda parts: centre_frames(parts, count))
    assert len(frames) == count
    return shows, numbers(frames)


def close(found: list[int], expected: list[int]) -> bool:
    return len(found) == len(expected) and np.abs(np.subtract(found, expected)).max() <= 1


@pytest.mark.parametrize(
    ("content", "shows", "expected"),
    [
        (lambda: clip(), 120, [15, 45, 75, 105]),
        (lambda: trimmed(clip(), 1.5), 75, [54, 73, 91, 110]),
        (lambda: trimmed(clip(coding={"bf": "2"}), 1.5), 75, [54, 73, 91, 110]),
        (lambda: trimmed(clip(coding={"bf": "2", "x264-params": "open-gop=1"}), 1.5), 75, [54, 73, 91, 110]),
        (lambda: trimmed(clip(codec="libvpx-vp9"), 1.5), 75, [54, 73, 91, 110]),
        (lambda: trimmed(clip(codec="mpeg4"), 1.5), 75, [54, 73, 91, 110]),
        (lambda: clip(movflags="frag_keyframe"), 120, [15, 45, 75, 105]),
        (lambda: clip(movflags="frag_every_frame"), 120, [15, 45, 75, 105]),
        (lambda: clip(movflags="frag_keyframe+empty_moov+default_base_moof"), 120, [15, 45, 75, 105]),
    ],
)
def test_the_header_s_count_of_frames_is_not_relied_on(content: Callable[[], bytes], shows: int, expected: list[int]):
    count, found = shown(content())
    assert count == shows
    assert close(found, expected), found


def with_count(content: bytes, count: int) -> bytes:
    """An AVI file whose header states another number of frames, in all three places."""
    stated = (120).to_bytes(4, "little")
    assert content.count(stated) >= 2
    return content.replace(stated, count.to_bytes(4, "little"))


@pytest.mark.parametrize("count", [0, 7, 119, 121, 10_000])
def test_an_avi_header_may_state_any_number_of_frames(count: int):
    shows, found = shown(with_count(clip(container="avi", codec="mpeg4"), count))
    assert (shows, close(found, [15, 45, 75, 105])) == (120, True)


def test_an_edit_list_may_leave_out_the_end():
    content = bytearray(clip(coding={"bf": "2"}))
    at = content.index(b"elst") + 12
    shown_for = int.from_bytes(content[at : at + 4])
    content[at : at + 4] = (shown_for // 2).to_bytes(4)
    shows, found = shown(bytes(content))
    assert shows == pytest.approx(60, abs=1)
    assert close(found, [7, 22, 37, 52]), found


GAP = [*range(30), *range(90, 120)]


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        *(("mp4", "libx264"), ("mov", "mjpeg"), ("matroska", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4")),
        *(("mpegts", "libx264"), ("flv", "libx264"), ("asf", "wmv2"), ("nut", "mpeg4")),
    ],
)
def test_frames_are_taken_by_the_time_at_which_they_are_shown(container: str, codec: str):
    shows, found = shown(clip(GAP, container=container, codec=codec), 8)
    assert shows == 60
    assert close(found, [6, 22, 29, 29, 29, 29, 97, 112]), found


def test_a_rate_that_falls_is_followed():
    # 30 frames in the first second, 10 in the second, 5 in the third.
    times = [*range(30), *range(30, 60, 3), *range(60, 90, 6)]
    _, found = shown(clip(times, coding={"bf": "2"}), 9)
    assert close(found, [5, 15, 25, 33, 45, 54, 60, 72, 84]), found


def test_the_same_frames_are_taken_whatever_the_container_rounds_times_to():
    expected = list(range(2, 120, 5))
    for container in ("mp4", "matroska", "flv", "mpegts", "avi"):
        assert shown(clip(container=container), 24)[1] == pytest.approx(expected, abs=1), container


@pytest.mark.parametrize("container", ["mpegts", "mpeg"])
def test_recordings_one_behind_the_other_are_shown_one_after_the_other(container: str):
    one, two = (
        clip(60, container=container, codec="mpeg2video", picture=lambda k, first=first: grey(k + first))
        for first in (0, 60)
    )
    shows, found = shown(one + two)
    assert shows == pytest.approx(120, abs=2)
    assert close(found, [15, 45, 75, 105]), found


def test_what_comes_before_the_first_key_frame_is_not_shown():
    content = copied(clip(codec="mpeg4"), "mp4", lambda _, number: number >= 20)
    shows, found = shown(content)
    assert (shows, close(found, [41, 63, 86, 108])) == (90, True)


def test_one_frame_is_repeated_and_none_is_named():
    assert shown(clip(1))[0] == 1
    with pytest.raises(ValueError, match=r"no video stream|no frames|cannot be decoded"):
        shown(clip(0))


def cornered(number: int) -> np.ndarray:
    """A wide frame: the upper left corner is white, the lower left one is grey."""
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:16, :16], frame[32:, :16] = 255, 128
    return frame


def corners(content: bytes) -> tuple[tuple[int, int], dict[str, int]]:
    """Height and width of a clip's frames, and where its white and its grey corner is shown."""
    frames, _, _ = video_file.decode(content, lambda parts: centre_frames(parts, 2))
    frame = frames[0].mean(axis=2)
    held = {"up left": frame[4, 4], "up right": frame[4, -4], "down left": frame[-4, 4], "down right": frame[-4, -4]}
    return frame.shape, {place: round(value / 128) for place, value in held.items() if value > 60}


@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("turned", "flips", "white", "grey_one"),
    [
        (0, {}, "up left", "down left"),
        (90, {}, "down left", "down right"),
        (180, {}, "down right", "up right"),
        (270, {}, "up right", "up left"),
        (-90, {}, "up right", "up left"),
        (0, {"hflip": True}, "up right", "down right"),
        (0, {"vflip": True}, "down left", "up left"),
        (90, {"hflip": True}, "down right", "down left"),
    ],
)
def test_a_clip_is_upright(container: str, turned: int, flips: dict[str, bool], white: str, grey_one: str):
    content = clip(3, container=container, picture=cornered, prepare=lambda s: s.set_display_rotation(turned, **flips))
    size, found = corners(content)
    assert size == ((64, 48) if turned % 180 else (48, 64))
    assert found == {white: 2, grey_one: 1}


def test_a_slanted_clip_is_named():
    with pytest.raises(ValueError, match="turned by an angle that is not a multiple of 90 degrees"):
        shown(clip(3, prepare=lambda s: s.set_display_rotation(30)))


@pytest.mark.parametrize(("aspect", "size"), [("2", (48, 128)), ("1/2", (96, 64)), ("4/3", (48, 85)), ("1", (48, 64))])
def test_pixels_are_shown_square(aspect: str, size: tuple[int, int]):
    content = clip(3, picture=cornered, prepare=lambda s: setattr(s, "sample_aspect_ratio", Fraction(aspect)))
    assert corners(content)[0] == size


def test_sdp_and_playlists_are_not_followed():
    sdp = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 96\r\n"
    sdp += b"a=rtpmap:96 H264/90000\r\n"
    playlist = (
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n"
    )
    for content in (sdp, playlist, b"ffconcat version 1.0\nfile /etc/hostname\n"):
        start = time.monotonic()
        with pytest.raises(ValueError, match="cannot be decoded"):
            shown(content)
        assert time.monotonic() - start < 2
