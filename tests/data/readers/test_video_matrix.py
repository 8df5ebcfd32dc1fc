"""Containers × codecs × what happens to clips: the right frames, or a sentence that names what is wrong."""

from __future__ import annotations

import functools
import io
import re
from typing import Any

import av
import numpy as np
import pytest
from clips import SIDE, clip, numbers
from sweep import swept

from kdbench.data.readers import video_file
from kdbench.data.readers.timeline import centre_frames

PAIRS = [
    *(("mp4", codec) for codec in ("libx264", "libx265", "mpeg4", "mjpeg", "libvpx-vp9", "mpeg2video")),
    *(("mov", codec) for codec in ("libx264", "mjpeg", "mpeg4")),
    *(("matroska", codec) for codec in ("libx264", "libx265", "libvpx", "libvpx-vp9", "mpeg4", "mjpeg", "ffv1")),
    *(("webm", codec) for codec in ("libvpx", "libvpx-vp9")),
    *(("avi", codec) for codec in ("libx264", "mpeg4", "mjpeg", "msmpeg4v2", "ffv1", "mpeg2video")),
    *(("mpegts", codec) for codec in ("libx264", "libx265", "mpeg2video")),
    *(("mpeg", codec) for codec in ("mpeg1video", "mpeg2video")),
    *(("asf", "wmv2"), ("flv", "flv"), ("flv", "libx264"), ("ogg", "libvpx"), ("nut", "libx264"), ("3gp", "mpeg4")),
    *(("ivf", "libvpx"), ("yuv4mpegpipe", "rawvideo"), ("h264", "libx264"), ("m4v", "mpeg4"), ("mjpeg", "mjpeg")),
]
REORDERED = [(container, codec) for container, codec in PAIRS if codec in ("libx264", "mpeg4", "mpeg2video")]
TIMED = [
    (container, codec)
    for container, codec in PAIRS
    if container not in ("yuv4mpegpipe", "h264", "m4v", "mjpeg", "mpeg", "ogg")
]
SIZED = [(container, codec) for container, codec in PAIRS if container not in ("h264", "m4v", "mjpeg", "mpegts", "nut")]
FRAMES = 60
WHOLE = [7, 22, 37, 52]

made = functools.cache(clip)


def shown(content: bytes, count: int = 4) -> tuple[int, list[int]]:
    frames, shows, _ = video_file.decode(content, lambda parts: centre_frames(parts, count))
    assert frames.shape == (count, SIDE, SIDE, 3)
    return shows, numbers(frames)


def close(found: list[int], expected: list[int], within: int = 1) -> bool:
    return bool(np.abs(np.subtract(found, expected)).max() <= within)


@pytest.mark.slow
@swept(("container", "codec"), PAIRS)
def test_a_whole_clip(container: str, codec: str):
    shows, found = shown(made(FRAMES, container=container, codec=codec))
    assert shows == FRAMES
    assert close(found, WHOLE), found


@swept(("container", "codec"), REORDERED)
def test_frames_that_are_stored_in_another_order(container: str, codec: str):
    shows, found = shown(clip(FRAMES, container=container, codec=codec, coding={"bf": "2"}))
    assert shows == FRAMES
    assert close(found, WHOLE), found


@swept(("container", "codec"), TIMED)
def test_a_gap_in_the_middle(container: str, codec: str):
    shows, found = shown(clip([*range(15), *range(45, 60)], container=container, codec=codec), 6)
    assert shows == 30
    assert close(found, [5, 14, 14, 14, 45, 55], within=2), found


@swept(("container", "codec"), [pair for pair in PAIRS if pair[0] != "mjpeg" and pair[1] != "libx265"])
def test_one_frame(container: str, codec: str):
    shows, found = shown(clip(1, container=container, codec=codec))
    assert shows == 1
    assert close(found, [0, 0, 0, 0])


@pytest.mark.slow
@swept(("container", "codec"), [pair for pair in TIMED if pair[0] != "avi"])
def test_a_clock_that_does_not_start_at_0(container: str, codec: str):
    late = clip(FRAMES, container=container, codec=codec, prepare=lambda _: None, first=3000)
    assert shown(late)[0] == FRAMES
    assert close(shown(late)[1], WHOLE)


def told(content: bytes) -> str:
    """The sentence that names what is wrong with a file, or how many frames it shows."""
    try:
        return f"{shown(content)[0]} frames"
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("share", [0.3, 0.55, 0.9])
@swept(("container", "codec"), SIZED)
def test_a_file_that_is_cut_off(container: str, codec: str, share: float):
    content = made(FRAMES, container=container, codec=codec)
    assert "cut off" in told(content[: int(share * len(content))])
    # The last bytes of some containers belong to no frame.
    assert re.search(f"cut off|{FRAMES} frames", told(content[:-20]))


@pytest.mark.parametrize("options", [{}, {"movflags": "frag_keyframe"}, {"movflags": "frag_every_frame"}])
@pytest.mark.parametrize("container", ["mp4", "mov"])
def test_fragments_that_are_cut_off(container: str, options: dict[str, str]):
    content = made(FRAMES, container=container, **options)
    assert shown(content)[0] == FRAMES
    for part in range(1, 20):
        with pytest.raises(ValueError, match="cut off"):
            shown(content[: len(content) * part // 20 - 3])


def test_a_live_recording_that_is_cut_off():
    content = made(FRAMES, container="matroska", live="1")
    assert shown(content)[0] == FRAMES
    for part in range(4, 20):
        with pytest.raises(ValueError, match="cut off"):
            shown(content[: len(content) * part // 20 - 3])


def textured(number: int) -> np.ndarray:
    """Frames that take many bytes."""
    noise = np.random.default_rng(number // 10).integers(0, 120, (16, 16, 1)).repeat(4, 0).repeat(4, 1)
    return (noise + np.array([0, number, 2 * number])).astype(np.uint8)


def packets(content: bytes) -> list[tuple[int, int]]:
    """Where each packet lies in the file and how long it is."""
    with av.open(io.BytesIO(content)) as file:
        return [(packet.pos, packet.size) for packet in file.demux(file.streams.video[0]) if packet.size]


@pytest.mark.parametrize(
    ("container", "codec", "least"),
    [
        ("mp4", "libx264", 0.4),
        ("mp4", "mpeg4", 0.9),
        ("avi", "mpeg4", 0.9),
        ("avi", "ffv1", 1),
        ("nut", "libx264", 0.5),
        ("mpegts", "libx264", 0.3),
        ("mpegts", "mpeg2video", 0.8),
        ("matroska", "libx264", 1),
        ("matroska", "libvpx", 1),
        ("matroska", "ffv1", 1),
        ("ogg", "libvpx", 1),
    ],
)
def test_damage_in_mid_file_is_named_with_the_frame(container: str, codec: str, least: float):
    content = made(FRAMES, container=container, codec=codec, picture=textured)
    places = [(at, size) for at, size in packets(content)[5:-5] if size > 60][:20]
    assert len(places) > 5
    sentences = []
    for at, size in places:
        damaged = bytearray(content)
        damaged[at + size // 2 : at + size // 2 + 24] = np.random.default_rng(at).bytes(24)
        sentences.append(told(bytes(damaged)))
    named = [sentence for sentence in sentences if not sentence.endswith(" frames")]
    assert len(named) >= least * len(places), sentences
    assert all(re.search("damaged|cut off|cannot be decoded", sentence) for sentence in named), named


def test_the_frame_and_the_time_of_the_damage():
    content = bytearray(made(FRAMES, picture=textured))
    at, size = packets(bytes(content))[40]
    content[at + 5 : at + size] = bytes(size - 5)
    with pytest.raises(ValueError, match=r"it is damaged at frame 40 \(1\.33 s\): "):
        shown(bytes(content))


def test_frames_that_the_demuxer_passes_over_are_missed():
    content = made(FRAMES, container="avi", codec="mpeg4", picture=textured)
    at, _ = packets(content)[30]
    broken = bytearray(content)
    broken[at - 8 : at + 40] = np.random.default_rng(0).bytes(48)
    assert re.search("it is damaged", told(bytes(broken)))


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_a_lost_packet_of_a_transport_stream_is_missed(codec: str):
    content = made(FRAMES, container="mpegts", codec=codec, picture=textured)
    for at, _ in packets(content)[3:-3:4]:
        assert re.search("it is damaged", told(content[:at] + content[at + 188 :])), at


def with_other_streams(kinds: tuple[str, ...]) -> bytes:
    """A clip behind other streams: `audio`, `cover` (one picture) or `second` (another video)."""
    out = io.BytesIO()
    with av.open(out, "w", format="matroska") as file:
        others = []
        for kind in kinds:
            if kind == "audio":
                others.append((kind, file.add_stream("aac", rate=8000, layout="mono")))
            else:
                stream = file.add_stream("mjpeg" if kind == "cover" else "mpeg4", rate=30)
                stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p" if kind == "cover" else "yuv420p"
                others.append((kind, stream))
        main = file.add_stream("libx264", rate=30, options={"preset": "ultrafast", "g": "30"})
        main.width, main.height, main.pix_fmt = SIDE, SIDE, "yuv420p"
        for stream in (*(stream for _, stream in others), main):
            if stream.type == "video":
                chosen = stream is main
                stream.disposition = av.stream.Disposition.default if chosen else av.stream.Disposition(0)
        for number in range(FRAMES):
            for kind, stream in others:
                if kind == "audio" and number % 4 == 0:
                    sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                    sound.sample_rate, sound.pts = 8000, number // 4 * 1024
                    file.mux(stream.encode(sound))
                elif kind == "second" or (kind == "cover" and number == 0):
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
            picture = np.full((SIDE, SIDE, 3), 2 * number, np.uint8)
            file.mux(main.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream in (*(stream for _, stream in others), main):
            file.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("kinds", [("audio",), ("cover",), ("second",), ("cover", "audio", "second")])
def test_the_film_is_found_behind_other_streams(kinds: tuple[str, ...]):
    shows, found = shown(with_other_streams(kinds))
    assert shows == FRAMES
    assert close(found, WHOLE)


COLOURS = np.zeros((SIDE, SIDE, 3), np.uint8)
COLOURS[: SIDE // 2, : SIDE // 2], COLOURS[: SIDE // 2, SIDE // 2 :] = (200, 40, 40), (40, 200, 40)
COLOURS[SIDE // 2 :, : SIDE // 2], COLOURS[SIDE // 2 :, SIDE // 2 :] = (40, 40, 200), (235, 235, 235)


@pytest.mark.parametrize(
    ("container", "codec", "pixels"),
    [
        *(("mp4", "libx264", pixels) for pixels in ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "yuv420p10le")),
        *(("mp4", "libx264", "nv12"), ("mp4", "libx265", "yuv420p10le"), ("webm", "libvpx-vp9", "yuva420p")),
        *(("matroska", "ffv1", pixels) for pixels in ("yuva420p", "bgra", "rgb48le")),
        *(
            ("mov", "png", "rgba"),
            ("mov", "qtrle", "argb"),
            ("mov", "prores_ks", "yuva444p10le"),
            ("gif", "gif", "rgb8"),
        ),
        *(("avi", "rawvideo", "bgr24"), ("avi", "rawvideo", "yuyv422"), ("avi", "huffyuv", "rgb24")),
    ],
)
def test_colours_whatever_the_pixels(container: str, codec: str, pixels: str):
    content = clip(3, container=container, codec=codec, pixels=pixels, picture=lambda _: COLOURS)
    frames, _, _ = video_file.decode(content, lambda parts: centre_frames(parts, 1))
    inside = (slice(8, 24), slice(40, 56))
    for rows in inside:
        for columns in inside:
            assert np.abs((frames[0, rows, columns].astype(int) - COLOURS[rows, columns]).mean((0, 1))).max() <= 8


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", ["ITU601", "ITU709", "BT2020"])
def test_colours_follow_the_stated_range_and_matrix(full: bool, matrix: str):
    from av.video.reformatter import ColorRange, Colorspace

    def prepare(stream: Any) -> None:
        stream.codec_context.color_range = 2 if full else 1
        stream.codec_context.colorspace = {"ITU601": 6, "ITU709": 1, "BT2020": 9}[matrix]

    def convert(frame: Any) -> Any:
        space = Colorspace[matrix] if matrix != "BT2020" else Colorspace.BT2020
        return frame.reformat(
            format="yuv420p", dst_colorspace=space, dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG
        )

    content = clip(3, picture=lambda _: COLOURS, prepare=prepare, convert=convert)
    frames, _, _ = video_file.decode(content, lambda parts: centre_frames(parts, 1))
    for rows in (slice(8, 24), slice(40, 56)):
        for columns in (slice(8, 24), slice(40, 56)):
            assert np.abs((frames[0, rows, columns].astype(int) - COLOURS[rows, columns]).mean((0, 1))).max() <= 8


def test_grey_is_grey():
    content = clip(codec="ffv1", container="matroska", pixels="gray", frames=FRAMES)
    assert close(shown(content)[1], WHOLE)


@pytest.mark.parametrize(("rows", "columns"), [(33, 47), (1, 1), (2, 300), (35, 64)])
def test_sizes_that_are_odd(rows: int, columns: int):
    content = clip(
        5, container="matroska", codec="ffv1", picture=lambda k: np.full((rows, columns, 3), 2 * k, np.uint8)
    )
    frames, shows, _ = video_file.decode(content, lambda parts: centre_frames(parts, 5))
    assert (frames.shape, shows) == ((5, rows, columns, 3), 5)
    assert close(numbers(frames), [0, 1, 2, 3, 4])


def test_a_size_that_changes_is_named_or_squeezed():
    small, large = (
        clip(30, container="h264", picture=lambda k, n=n: np.full((n, n, 3), 2 * k, np.uint8)) for n in (32, 64)
    )
    with pytest.raises(ValueError, match=r"its frames differ in size \(32×32 and 64×64 pixels\)"):
        shown(small + large)
    frames, shows, _ = video_file.decode(small + large, lambda parts: centre_frames(parts, 4), side=16)
    assert (frames.shape, shows) == ((4, 16, 16, 3), 60)
    assert close(numbers(frames), [7, 22, 7, 22])


def test_interlaced_fields_stay_woven():
    fields = np.zeros((SIDE, SIDE, 3), np.uint8)
    fields[::2] = 200
    content = clip(5, container="mpegts", codec="mpeg2video", picture=lambda _: fields, coding={"flags": "+ildct+ilme"})
    frames, shows, _ = video_file.decode(content, lambda parts: centre_frames(parts, 2))
    assert shows == 5
    assert frames[:, ::2].mean() > 180
    assert frames[:, 1::2].mean() < 20
