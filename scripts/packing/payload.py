"""One file from a launcher and a tree; runs in the Python of the tree, which has zstd.

    launcher | payload | facts | trailer

scripts/launcher/program.c describes the layout, and reads it. The payload is a tar archive (ustar)
of the tree, compressed by zstd. The same tree makes the same bytes.

    TREE/bin/python3.13 payload.py LAUNCHER TREE FILE LEVEL FACT...
"""

from __future__ import annotations

import hashlib
import struct
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence

MAGIC = b"localrun-file-01"
HEAD = struct.Struct("<16sQQQQ32s")  # of the trailer, which ends with a digest
TRAILER_BYTES = HEAD.size + hashlib.sha256().digest_size
WINDOW_LOG = 27  # the launcher accepts a window of up to 2**27 bytes
LOCK = ".lock"  # an empty file in the tree


class _Counter:
    """A file for `tarfile`, which counts and compresses what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.num_bytes = 0

    def write(self, data: bytes) -> int:
        self.num_bytes += len(data)
        self._file.write(data)
        return len(data)


def write_program(
    launcher: bytes, tree: Path, target: Path, level: int, facts: Sequence[str]
) -> None:
    """Write a program: ``facts`` are those of the launcher's `struct program`, in its order."""
    with target.open("w+b") as file:
        file.write(launcher)
        num_unpacked = _write_archive(tree, file, level)
        file.seek(len(launcher))
        digest = hashlib.file_digest(file, "sha256").digest()
        payload_bytes = file.tell() - len(launcher)
        data = b"".join(fact.encode() + b"\0" for fact in facts)
        file.write(ending(data, len(launcher), payload_bytes, num_unpacked, digest))
    target.chmod(0o755)


def ending(facts: bytes, start: int, payload_bytes: int, num_unpacked: int, digest: bytes) -> bytes:
    """Return what follows the payload, whose ``digest`` this is: facts and trailer."""
    data = facts + HEAD.pack(MAGIC, start, payload_bytes, num_unpacked, len(facts), digest)
    return data + hashlib.sha256(data).digest()


def _write_archive(tree: Path, file: BinaryIO, level: int) -> int:
    """Write the compressed archive of a tree; return its size before the compression."""
    from backports.zstd import CompressionParameter, ZstdFile

    options = {
        CompressionParameter.compression_level: level,
        CompressionParameter.window_log: WINDOW_LOG,
        CompressionParameter.enable_long_distance_matching: 1,
    }
    (tree / LOCK).touch()
    with ZstdFile(file, "w", options=options) as compressed:
        counter = _Counter(compressed)  # type: ignore[arg-type]
        with tarfile.open(fileobj=counter, mode="w|", format=tarfile.USTAR_FORMAT) as archive:  # type: ignore[call-overload]
            for path in sorted(tree.rglob("*")):
                _add(archive, path, path.relative_to(tree).as_posix())
    return counter.num_bytes


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)  # of nobody, without a time
    if path.is_symlink():
        entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
        archive.addfile(entry)
    elif path.is_dir():
        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(entry)
    else:
        status = path.stat()
        entry.size = status.st_size
        entry.mode = 0o755 if status.st_mode & 0o100 else 0o644
        with path.open("rb") as file:
            archive.addfile(entry, file)


if __name__ == "__main__":
    launcher, tree, target, level, *facts = sys.argv[1:]
    write_program(Path(launcher).read_bytes(), Path(tree), Path(target), int(level), facts)
