"""Containers piece by piece: legal files of unlike writers are read, and no piece is lost in silence."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from clips import clip

from kdbench.data.readers import video_file, whole_file
from kdbench.data.readers.timeline import centre_frames

FRAMES = 40


def textured(number: int) -> np.ndarray:
    """Frames that take many bytes; blue is twice the number."""
    noise = np.random.default_rng(number // 10).integers(0, 120, (16, 16, 1)).repeat(4, 0).repeat(4, 1)
    return (noise + np.array([0, number, 2 * number])).astype(np.uint8)


@functools.cache
def made(container: str, codec: str, **muxing: str) -> bytes:
    pixels = "rgb8" if codec == "gif" else None
    return clip(FRAMES, container=container, codec=codec, picture=textured, pixels=pixels, **muxing)


def same_frames(content: bytes, original: bytes) -> bool:
    """Whether a file shows what another one does."""
    a, b = (video_file.decode(c, lambda parts: centre_frames(parts, FRAMES)) for c in (content, original))
    return a.shows == b.shows and bool(np.array_equal(a.frames, b.frames))


def told(content: bytes) -> str:
    """The sentence that names what is wrong with a file, or how many frames it shows."""
    try:
        return f"{video_file.decode(content, lambda parts: centre_frames(parts, 4)).shows} frames"
    except ValueError as error:
        return str(error)


def replaced(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def places(content: bytes, mark: bytes) -> list[int]:
    return [found.start() for found in re.finditer(re.escape(mark), content, re.DOTALL)]


# Matroska: elements whose identifier and size are followed by their content.

SEGMENT, CLUSTER = bytes.fromhex("18538067"), bytes.fromhex("1f43b675")
OPEN = bytes.fromhex("01ffffffffffffff")


def webm(**muxing: str) -> bytes:
    return made("webm", "libvpx", cluster_time_limit="300", **muxing)


def elements(content: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Where elements start, where their content does, and where they end."""
    while at < end:
        kind = 9 - content[at].bit_length()
        length = 9 - content[at + kind].bit_length()
        size = int.from_bytes(content[at + kind : at + kind + length]) & ((1 << 7 * length) - 1)
        yield at, at + kind + length, at + kind + length + size
        at += kind + length + size


def blocks(content: bytes) -> list[tuple[int, int, int]]:
    """The blocks of all clusters."""
    (_, _, start), (_, segment, end) = elements(content, 0, len(content))
    assert start
    clusters = [(data, stop) for at, data, stop in elements(content, segment, end) if content[at : at + 4] == CLUSTER]
    assert len(clusters) > 2
    inner = (element for data, stop in clusters for element in elements(content, data, stop))
    return [element for element in inner if content[element[0]] in (0xA3, 0xA0)]


def opened(content: bytes, *kinds: bytes) -> bytes:
    """Lets the sizes of elements be open, as where a recording is sent while it is made."""
    for kind in kinds:
        for at in places(content, kind):
            length = 9 - content[at + 4].bit_length()
            content = replaced(content, at + 4, ((1 << (7 * length + 1)) - 1).to_bytes(length))
    return content


@pytest.mark.parametrize(
    "change",
    [
        lambda content: opened(content, SEGMENT),
        # Directories behind open clusters end those.
        lambda content: opened(content, SEGMENT, CLUSTER),
        lambda content: content + bytes(300),
        lambda content: content + b"ID3 and other things behind the end",
        lambda content: content + bytes.fromhex("ec83") + b"abc",
    ],
)
def test_webm_of_other_writers(change: Callable[[bytes], bytes]):
    assert same_frames(change(webm()), webm())


@pytest.mark.parametrize(
    ("container", "muxing"),
    [
        *((container, {name: "1"}) for container in ("matroska", "webm") for name in ("live", "dash")),
        *(("matroska", {"write_crc32": "0"}), ("webm", {"cluster_size_limit": "2000"})),
        ("webm", {"cues_to_front": "1", "reserve_index_space": "3000"}),
    ],
)
def test_matroska_s_options(container: str, muxing: dict[str, str]):
    assert told(made(container, "libvpx", **muxing)) == f"{FRAMES} frames"


def test_an_element_in_a_cluster_that_players_would_pass_over():
    for at, _, _ in blocks(webm())[5:-5:6]:
        # As filler, or as an element of a later standard.
        for kind in (0xA2, 0xA5, 0x00, 0x13):
            assert "no element begins there" in told(replaced(webm(), at, bytes((kind,)))), kind


@pytest.mark.parametrize("hole", [bytes(64), np.random.default_rng(0).bytes(64)])
def test_a_hole_between_blocks(hole: bytes):
    for at, _, _ in blocks(webm())[5:-5:6]:
        assert "damaged" in told(replaced(webm(), at - 20, hole))


def test_a_block_that_is_longer_than_its_cluster_or_of_another_track():
    at, data, _ = blocks(webm())[8]
    longer = webm()[: at + 1] + (0x10FFFFFF).to_bytes(4) + webm()[data:]
    assert "longer than the one that it lies in" in told(longer)
    assert "of a track that is not there" in told(replaced(webm(), data, b"\x85"))
    assert "a checksum is not where one may be" in told(replaced(webm(), at, b"\xbf"))


def test_a_cluster_that_only_the_directory_names():
    content = clip(FRAMES, container="webm", codec="libvpx", coding={"g": "5"}, cluster_time_limit="100")
    # Number of the track, place of the cluster.
    names = [at + 5 for at in places(content, bytes.fromhex("f78101f182"))]
    assert len(names) > 5
    assert "not where the directory says" in told(replaced(content, names[-3], b"\1\1"))
    # A directory of another file is none.
    for at in names:
        content = replaced(content, at, b"\1\1")
    assert told(content) == f"{FRAMES} frames"


# FLV


def tags(content: bytes) -> list[tuple[int, int]]:
    """Where tags start, and how long they are without the size behind them."""
    at, found = 13, []
    while at < len(content):
        size = 11 + int.from_bytes(content[at + 1 : at + 4])
        found.append((at, size))
        at += size + 4
    return found


def without_heads(content: bytes) -> bytes:
    for at, size in tags(content):
        content = replaced(content, at + size, (size - 11).to_bytes(4))
    return content


@pytest.mark.parametrize("change", [without_heads, lambda content: content[:-4]])
def test_flv_of_other_writers(change: Callable[[bytes], bytes]):
    assert same_frames(change(made("flv", "flv")), made("flv", "flv"))


def test_damaged_tags():
    content = made("flv", "flv")
    for at, size in tags(content)[4:-4:5]:
        assert "no tag begins there" in told(replaced(content, at, b"\x0b"))
        assert "states that it has" in told(replaced(content, at + size, b"\0\0\1\1"))
        assert "impossible" in told(replaced(content, at + 4, b"\x70"))
        assert "damaged" in told(content[:at] + content[at + 100 :])


# ASF


def asf(container: str = "asf", **muxing: str) -> bytes:
    return made(container, "wmv2", **muxing)


def packets(content: bytes) -> range:
    start = int.from_bytes(content[16:24], "little")
    size = int.from_bytes(content[content.index(bytes.fromhex("a1dcab8c47a9cf11")) + 92 :][:4], "little")
    return range(start + 50, start + 50 + size * int.from_bytes(content[start + 40 : start + 48], "little"), size)


@pytest.mark.parametrize("packet_size", ["400", "20000"])
def test_packets_of_asf_of_any_size(packet_size: str):
    assert same_frames(asf(packet_size=packet_size), asf())


def test_a_broadcast_does_not_say_how_long_it_will_be():
    content = asf(packet_size="400")
    start, stated = int.from_bytes(content[16:24], "little"), content.index(bytes.fromhex("a1dcab8c47a9cf11"))
    end = packets(content).stop
    for at, new in ((stated + 40, bytes(8)), (stated + 88, b"\1"), (start + 16, bytes(8)), (start + 40, bytes(8))):
        content = replaced(content, at, new)
    assert same_frames(content[:end], asf())
    assert "missing there or before" in told(content[: start + 50 + 2400] + content[start + 50 + 2800 :])


def test_a_lost_packet_of_asf():
    content = asf(packet_size="400")
    places = packets(content)
    for at in places[3:-3:7]:
        # One packet stands in for another, then a packet of nothing.
        assert "missing there or before" in told(replaced(content, at, content[at - 400 : at])), at
        assert "damaged" in told(replaced(content, at, bytes(400))), at


def test_more_packets_of_asf_than_fit():
    content = asf()
    start = int.from_bytes(content[16:24], "little")
    assert "do not fit" in told(replaced(content, start + 40, (9999).to_bytes(8, "little")))


# MPEG program streams, GIF, MP4, AVI, Ogg, NUT, YUV4MPEG


def padded(content: bytes) -> bytes:
    """Zeros between packs, as on discs."""
    starts = places(content, b"\0\0\1\xba")
    return b"".join(content[a:b] + bytes(30) for a, b in zip(starts, [*starts[1:], len(content)], strict=True))


def with_box(content: bytes) -> bytes:
    return content + (20).to_bytes(4) + b"xtra" + b"something 12"


@pytest.mark.parametrize(
    ("container", "codec", "change"),
    [
        *(("mpeg", "mpeg2video", padded), ("mpeg", "mpeg2video", lambda content: content + b"TAG of a player")),
        *(("gif", "gif", lambda content: content + b"behind the end"), ("mp4", "libx264", with_box)),
        *(("mp4", "libx264", lambda c: c + b"SEFT\1\2\3\4 and more"), ("mp4", "libx264", lambda c: c + bytes(99))),
        ("mp4", "libx264", lambda c: with_box(c) + (8).to_bytes(4) + b"free"),
        *(("avi", "mpeg4", lambda c: c + b"ID3"), ("avi", "mpeg4", lambda c: replaced(c, 4, b"\xff\xff\xff\xff"))),
        ("ogg", "libvpx", lambda content: content + b"TAG of a player"),
    ],
)
def test_legal_files(container: str, codec: str, change: Callable[[bytes], bytes]):
    assert same_frames(change(made(container, codec)), made(container, codec))


def test_damage_amid_packs():
    content = made("mpeg", "mpeg2video")
    for at in places(content, b"\0\0\1\xe0")[3:-3:5]:
        assert "of no kind that may" in told(replaced(content, at, b"\0\0\2"))
        assert re.search("damaged|cut off", told(replaced(content, at - 10, bytes(64))))


def test_damaged_blocks_of_gif():
    content = made("gif", "gif")
    at = places(content, b"\x21\xf9\x04")[10]
    assert "no block begins there" in told(replaced(content, at, b"\x22"))
    assert "cut off" in told(content[:-1])


def test_damage_between_the_parts_of_mp4():
    content = made("mp4", "libx264", movflags="frag_keyframe+empty_moov", frag_duration="300000")
    at = places(content, b"moof")[1] - 4
    assert "of no kind that may" in told(content[: at - 30] + content[at + 70 :])


def test_lines_of_frames_that_are_not_there():
    content = made("yuv4mpegpipe", "rawvideo")
    at = places(content, b"FRAME\n")[7]
    assert "no frame begins there" in told(replaced(content, at, b"frame\n"))


def test_a_message_that_another_file_caused_before():
    content = made("nut", "libx264")
    broken = content[: len(content) // 2] + content[len(content) // 2 + 100 :]
    assert [re.search("damaged|cut off", told(broken)) is not None for _ in range(3)] == [True] * 3


def test_how_long_a_clip_lasts():
    gap = [*range(15), *range(45, 60)]
    for container, codec in (("mp4", "libx264"), ("webm", "libvpx"), ("avi", "mpeg4"), ("asf", "wmv2")):
        held = video_file.decode(clip(gap, container=container, codec=codec), lambda n: centre_frames(n, 4))
        assert (held.shows, held.seconds) == (30, pytest.approx(2, abs=0.05)), container
    raw = video_file.decode(clip(30, container="h264"), lambda n: centre_frames(n, 4))
    assert raw.seconds is None


def asf_packet(objects: list[int], number: int, padding: int = 10) -> bytes:
    """A packet of small whole objects behind one another, as no writer here makes them."""
    inner = b"".join(bytes((size,)) + b"x" * size for size in objects)
    # A number of one byte, a place of four, and one byte repeated, which is the time between the objects.
    payload = bytes((1, number)) + (7).to_bytes(4, "little") + b"\1\x21" + inner
    return b"\x82\0\0" + bytes((0x08, 0x5D, padding)) + bytes(6) + payload + bytes(padding)


@pytest.mark.parametrize(("number", "missing"), [(3, False), (4, True), (2, True)])
def test_small_objects_of_asf_are_counted(number: int, missing: bool):
    one, two = asf_packet([5, 6, 7], 0), asf_packet([9, 9], number, 10 + 1)
    assert len(one) == len(two)
    properties = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365") + bytes(76) + len(one).to_bytes(4, "little") * 2
    header = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + (24 + len(properties)).to_bytes(8, "little")
    data = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c") + (50 + 2 * len(one)).to_bytes(8, "little")
    content = header + properties + data + bytes(16) + (2).to_bytes(8, "little") + bytes(2) + one + two
    if missing:
        with pytest.raises(ValueError, match="missing there or before"):
            whole_file.missing(content)
    else:
        assert whole_file.missing(content) is None
