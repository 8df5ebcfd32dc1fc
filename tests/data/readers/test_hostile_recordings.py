"""Damaged clips, mats and texts by the hundred: an error that names what is wrong, soon, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
from clips import clip
from fuzzing import fuzz
from hypothesis import given
from hypothesis import strategies as st
from mats import VALUES, big_endian, saved, saved_73, sparse_73

from kdbench.data.readers import mat_file, text_series, video_file
from kdbench.data.readers.timeline import centre_frames

SLOWEST_SECONDS = 20
LIMITS = fuzz(60)


@st.composite
def damaged(draw: st.DrawFn, contents: list[bytes]) -> bytes:
    """A file with bytes flipped, overwritten, cut out, doubled or cut off."""
    content = bytearray(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        # Directories stand at the beginning.
        at = at % 600 if draw(st.booleans()) else at
        match draw(st.sampled_from(["flip", "write", "zero", "ones", "cut out", "double", "cut off"])):
            case "flip" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "write":
                new = draw(st.binary(min_size=1, max_size=8))
                content[at : at + len(new)] = new
            case "zero":
                content[at : at + 4] = bytes(4)
            case "ones":
                content[at : at + 4] = b"\xff" * 4
            case "cut out":
                del content[at : at + draw(st.integers(1, 300))]
            case "double":
                content[at:at] = content[at : at + draw(st.integers(1, 300))]
            case "cut off":
                del content[at:]
    return bytes(content)


def soon(read: Callable[[], np.ndarray]) -> None:
    start, sentence = time.monotonic(), "read"
    try:
        assert read().size
    except ValueError as error:
        sentence = str(error)
    assert 0 < len(sentence) < 1000
    assert time.monotonic() - start < SLOWEST_SECONDS


def few(container: str, codec: str, **options: str) -> bytes:
    return clip(12, container=container, codec=codec, **options)


CLIPS = [
    *(few("mp4", codec) for codec in ("libx264", "mpeg4")),
    *(few(container, "mpeg4") for container in ("mov", "avi", "matroska", "mpegts", "nut")),
    *(few("mp4", "libx264", movflags=flags) for flags in ("frag_keyframe", "frag_every_frame")),
    *(few("webm", "libvpx"), few("ogg", "libvpx"), few("flv", "flv"), few("asf", "wmv2"), few("mpeg", "mpeg2video")),
    *(few("avi", "mjpeg"), few("yuv4mpegpipe", "rawvideo"), few("ivf", "libvpx"), few("h264", "libx264")),
]
MATS = [
    *(saved(d_iner=VALUES), saved(compressed=False, d_iner=VALUES), saved("4", d_iner=VALUES), big_endian(VALUES)),
    *(saved(compressed=False, d_iner=scipy.sparse.csc_matrix(VALUES)), saved_73(VALUES), sparse_73()),
]
TEXTS = [
    b"20181014_15:58:00.000,1.5,-2,3e-3\n20181014_15:58:00.020,.25,1000.,-0.125\n" * 3,
    b'"a;b";1,5;2;3\r\nt;4;5;6\r\n',
]


@LIMITS
@given(damaged(CLIPS))
def test_clips(content: bytes):
    soon(lambda: video_file.decode(content, lambda parts: centre_frames(parts, 4), side=16)[0])


@LIMITS
@given(damaged(MATS))
def test_mats(content: bytes):
    soon(lambda: mat_file.read(content, "d_iner", (None, 6)))


@LIMITS
@given(damaged(TEXTS) | st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_texts(content: bytes):
    soon(lambda: text_series.read(content, (1, 2, 3), width=4))


@LIMITS
@given(st.binary(max_size=400))
def test_any_bytes(content: bytes):
    soon(lambda: video_file.decode(content, lambda parts: centre_frames(parts, 4))[0])
    soon(lambda: mat_file.read(content, "d_iner", (None, 6)))
