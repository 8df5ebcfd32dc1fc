"""Unpacking a zip archive that nobody trusts: no path leaves the folder, and no bomb fills the disk.

Everything is judged by the archive's list before the first byte is written, and the sizes again while writing, since
a list can lie. zipfile's own `extractall` mends bad names in silence and limits nothing.
"""

from __future__ import annotations

import errno
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from kdbench.data.download.fetch import ELSEWHERE
from kdbench.errors import DataError, RunFailed
from kdbench.text.wording import counted
from kdbench.util import files

MOST_ENTRIES = 200_000
MOST_RATIO = 200
"""Bytes unpacked for a byte of the archive, over the whole archive."""
ALWAYS_ALLOWED = 2**24
"""Bytes unpacked that no ratio forbids."""
_IGNORED_FOLDERS = {"__MACOSX"}
_IGNORED_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
_ENCRYPTED = 0x1
_CHUNK = 2**18
_MIB = 2**20
_AGAIN = "Remove the archive and get it again; where it is as its authors made it, unpack it by hand."
_BY_HAND = "Get the archive from its authors again; if it has to be so, unpack it by hand, and look at what it holds."
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def unpack(archive: Path, folder: Path, *, advance: Callable[[], None] = lambda: None) -> list[str]:
    """Unpacks an archive into an empty folder of its own.

    Args:
        archive: The zip file.
        folder: Where to; made here, and must not exist.
        advance: Called after each file.

    Returns:
        Paths of the files below `folder`, as posix.

    Raises:
        DataError: The archive is damaged, or holds what is not safe: paths that leave the folder, links, two entries of
            one name, encryption, more entries or bytes than are plausible. The entry is named.
        RunFailed: The disk is full.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            wanted = _judged(content, archive)
            _check_space(archive, folder, sum(entry.file_size for entry in wanted.values()))
            folder.mkdir(parents=True)
            for path, entry in wanted.items():
                _write(content, entry, folder / path)
                advance()
    except _DAMAGED as error:
        raise DataError(f"{archive.name} is not a whole zip archive: {error}", hint=_AGAIN) from error
    except OSError as error:
        # A list that names places before the file's beginning makes the seek fail, not a write.
        if error.errno == errno.EINVAL and error.filename is None:
            raise DataError(f"{archive.name} is not a whole zip archive: {error.strerror}", hint=_AGAIN) from error
        raise files.unwritable(error, folder, elsewhere=ELSEWHERE) from error
    return list(wanted)


def count_of(archive: Path) -> int:
    """Number of entries of an archive; 0 where it is damaged."""
    try:
        with zipfile.ZipFile(archive) as content:
            return len(content.infolist())
    except (*_DAMAGED, OSError):
        return 0


def _judged(content: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """The files to unpack, by path."""
    entries = content.infolist()
    if len(entries) > MOST_ENTRIES:
        raise DataError(
            f"{archive.name} lists {counted(len(entries), 'entry')}, at most {MOST_ENTRIES} are taken", hint=_BY_HAND
        )
    wanted: dict[str, zipfile.ZipInfo] = {}
    seen: dict[str, str] = {}
    for entry in entries:
        path = safe_path(entry.orig_filename, archive.name)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            what = "a symbolic link" if kind == stat.S_IFLNK else "no plain file"
            raise DataError(
                f"{archive.name}: the entry {entry.orig_filename!r} is {what}; it is not unpacked", hint=_BY_HAND
            )
        if entry.is_dir() or path.name in _IGNORED_FILES or _IGNORED_FOLDERS & set(path.parts):
            continue
        if entry.flag_bits & _ENCRYPTED:
            raise DataError(f"{archive.name}: the entry {entry.orig_filename!r} is encrypted", hint=_BY_HAND)
        # Names that differ in case alone are one file on some systems.
        other = seen.setdefault(str(path).casefold(), entry.orig_filename)
        if str(path) in wanted or other != entry.orig_filename:
            raise DataError(f"{archive.name} has two entries for {str(path)!r}", hint=_BY_HAND)
        wanted[str(path)] = entry
    for name in wanted:
        for above in PurePosixPath(name).parents:
            if str(above).casefold() in seen:
                raise DataError(f"{archive.name}: {str(above)!r} is a file and a folder at once", hint=_BY_HAND)
    total, packed = sum(entry.file_size for entry in wanted.values()), archive.stat().st_size
    if total > max(ALWAYS_ALLOWED, MOST_RATIO * packed):
        raise DataError(
            f"{archive.name} would unpack from {packed / _MIB:.1f} to {total / _MIB:.0f} MiB; "
            f"more than {MOST_RATIO} times its size is taken for a bomb",
            hint=_BY_HAND,
        )
    return wanted


def safe_path(name: str, archive: str) -> PurePosixPath:
    """An entry's name as a path below a folder.

    Raises:
        DataError: It is absolute, names a drive, climbs, or holds control characters.
    """
    parts = name.replace("\\", "/").removesuffix("/").split("/")
    bad = (
        not name
        or parts[0] == ""
        or any(part in {"", "..", "."} or part != part.strip() or ":" in part for part in parts)
        or any(ord(character) < 32 or ord(character) == 127 for character in name)
    )
    if bad:
        raise DataError(
            f"{archive}: the entry {name!r} is not a plain path inside the archive; nothing was unpacked", hint=_BY_HAND
        )
    return PurePosixPath(*parts)


def _write(content: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with content.open(entry) as source, path.open("xb") as target:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > entry.file_size:
                raise DataError(
                    f"the entry {entry.orig_filename!r} is larger than the archive's list says", hint=_AGAIN
                )
            target.write(chunk)
    if written != entry.file_size:
        raise DataError(
            f"the entry {entry.orig_filename!r} has {counted(written, 'byte')}, the archive's list says "
            f"{entry.file_size}",
            hint=_AGAIN,
        )


def _check_space(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(archive.parent).free
    if free < needed:
        raise RunFailed(
            f"unpacking {archive.name} needs {needed // _MIB + 1} MiB in {folder.parent}, {free // _MIB} MiB are free",
            hint=f"Free some space and repeat the command. {ELSEWHERE}",
        )
