"""The payload of a binary: what is written, and that the same tree makes the same bytes."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from backports import zstd
from packing.payload import HEAD, LOCK, MAGIC, TRAILER_BYTES, write_program

if TYPE_CHECKING:
    from pathlib import Path

LAUNCHER = b"\x7fELF launcher"
FACTS = ["0.1.0", "bin/python"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_bytes(b"program")
    (folder / "bin" / "python").chmod(0o750)
    (folder / "text").write_text("text")
    (folder / "link").symlink_to("text")
    return folder


def test_a_program_is_a_launcher_an_archive_facts_and_a_trailer(tree: Path, tmp_path: Path) -> None:
    file = tmp_path / "program"

    write_program(LAUNCHER, tree, file, 3, FACTS)

    data = file.read_bytes()
    trailer = data[-TRAILER_BYTES:]
    magic, offset, size, unpacked, facts_size, digest = HEAD.unpack_from(trailer)
    payload, facts = data[offset : offset + size], data[offset + size : -TRAILER_BYTES]
    assert (magic, offset, data[:offset]) == (MAGIC, len(LAUNCHER), LAUNCHER)
    assert hashlib.sha256(payload).digest() == digest
    assert (len(facts), facts) == (facts_size, b"0.1.0\0bin/python\0")
    assert hashlib.sha256(facts + trailer[: HEAD.size]).digest() == trailer[HEAD.size :]
    assert len(zstd.decompress(payload)) == unpacked
    assert os.access(file, os.X_OK)


def test_an_archive_has_files_programs_links_and_no_times_or_owners(
    tree: Path, tmp_path: Path
) -> None:
    file = tmp_path / "program"

    write_program(LAUNCHER, tree, file, 3, FACTS)

    _, offset, size, *_ = HEAD.unpack_from(file.read_bytes()[-TRAILER_BYTES:])
    payload = zstd.decompress(file.read_bytes()[offset : offset + size])
    with tarfile.open(fileobj=io.BytesIO(payload)) as archive:
        entries = {entry.name: entry for entry in archive}
    assert list(entries) == [LOCK, "bin", "bin/python", "link", "text"]
    assert (entries["bin/python"].mode, entries["text"].mode) == (0o755, 0o644)
    assert (entries["link"].issym(), entries["link"].linkname) == (True, "text")
    assert {(entry.mtime, entry.uid, entry.uname) for entry in entries.values()} == {(0, 0, "")}


def test_the_same_tree_makes_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_program(LAUNCHER, tree, first, 3, FACTS)
    os.utime(tree / "text", (1, 1))

    write_program(LAUNCHER, tree, second, 3, FACTS)

    assert first.read_bytes() == second.read_bytes()
