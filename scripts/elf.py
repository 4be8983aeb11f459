"""ELF files, read without binutils: the machine, and what the dynamic linker loads for them.

    read(file).needed      ->  ("libm.so.6", "libc.so.6")
    read(file).versions    ->  {"libc.so.6": {"GLIBC_2.14", "GLIBC_2.2.5"}, ...}
    glibc_floor(files)     ->  (2, 27): the oldest glibc that has all symbols

Only little-endian 64-bit files are read (x86-64, aarch64). All facts come from the segments, as the
linker takes them: a stripped file may have no sections. The layout is that of the System V ABI and
of the Linux Standard Base's chapter on symbol versions.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
MACHINES = {62: "x86_64", 183: "aarch64"}
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 14, 15, 29
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
TAG = struct.Struct("<qQ")
NEEDED_FILE = struct.Struct("<HHIII")  # Elf64_Verneed: version, count, file, aux, next
NEEDED_VERSION = struct.Struct("<IHHII")  # Elf64_Vernaux: hash, flags, other, name, next
GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)")


class ElfError(Exception):
    """A file that is not a 64-bit little-endian ELF file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElfFile:
    """Facts of one program or library that the dynamic linker goes by."""

    machine: str  # as `uname -m` names it; the number of an unknown one
    interpreter: str | None = None
    soname: str | None = None
    needed: tuple[str, ...] = ()
    search: tuple[str, ...] = ()  # folders, in which $ORIGIN is that of the file
    versions: dict[str, set[str]] = field(default_factory=dict)  # needed, by library


def is_elf(file: Path) -> bool:
    """Return whether the file begins as those that `read` can read."""
    with file.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def read(file: Path) -> ElfFile:
    """Return the facts of a program or library.

    Raises:
        ElfError: the file is another one.
    """
    facts = parse(file.read_bytes())
    if facts is None:
        raise ElfError(f"{file} is not a 64-bit little-endian ELF file")
    return facts


def parse(data: bytes) -> ElfFile | None:
    """Return the facts of a file's content, None if that is no 64-bit little-endian ELF file."""
    if not data.startswith(MAGIC) or len(data) < HEADER.size:
        return None
    fields = HEADER.unpack_from(data)
    offset, size, count = fields[5], fields[9], fields[10]
    segments = [SEGMENT.unpack_from(data, offset + i * size) for i in range(count)]
    dynamic = _Dynamic(data, segments)
    return ElfFile(
        machine=MACHINES.get(fields[2], str(fields[2])),
        interpreter=next((_text(data, s[2]) for s in segments if s[0] == PT_INTERP), None),
        soname=next(iter(dynamic.texts(DT_SONAME)), None),
        needed=tuple(dynamic.texts(DT_NEEDED)),
        search=tuple(
            folder
            for tag in (DT_RPATH, DT_RUNPATH)
            for text in dynamic.texts(tag)
            for folder in text.split(":")
        ),
        versions=dynamic.needed_versions(),
    )


def glibc_floor(files: Iterable[Path]) -> tuple[int, int]:
    """Return the oldest version of glibc that the libraries run with; (0, 0) if they use none."""
    versions = (v for file in files for names in read(file).versions.values() for v in names)
    found = (GLIBC.fullmatch(version) for version in versions)
    return max(((int(match[1]), int(match[2])) for match in found if match), default=(0, 0))


class _Dynamic:
    """The dynamic entries of a file; a file that is linked statically has none."""

    def __init__(self, data: bytes, segments: Sequence[tuple[int, ...]]) -> None:
        self._data, self._segments = data, segments
        self._entries: list[tuple[int, int]] = []
        for kind, _, at, _, _, length, _, _ in segments:
            if kind == PT_DYNAMIC:
                self._entries = _entries(data[at : at + length])
        self._strings = self._place(DT_STRTAB)

    def texts(self, tag: int) -> list[str]:
        """Return the texts of all entries with a tag."""
        return [_text(self._data, self._strings + at) for at in self._values(tag)]

    def needed_versions(self) -> dict[str, set[str]]:
        """Return the symbol versions that the file needs, by the library that defines them."""
        needs: dict[str, set[str]] = {}
        offset = self._place(DT_VERNEED)
        for _ in range(next(iter(self._values(DT_VERNEEDNUM)), 0)):
            _, count, name, first, step = NEEDED_FILE.unpack_from(self._data, offset)
            names = needs.setdefault(_text(self._data, self._strings + name), set())
            names |= self._versions(offset + first, count)
            offset += step
        return needs

    def _versions(self, offset: int, count: int) -> set[str]:
        names = set[str]()
        for _ in range(count):
            _, _, _, name, step = NEEDED_VERSION.unpack_from(self._data, offset)
            names.add(_text(self._data, self._strings + name))
            offset += step
        return names

    def _values(self, tag: int) -> list[int]:
        return [value for entry, value in self._entries if entry == tag]

    def _place(self, tag: int) -> int:
        """Return where in the file the address of an entry is; 0 if there is none."""
        address = next(iter(self._values(tag)), None)
        for kind, _, at, start, _, length, _, _ in self._segments:
            if address is not None and kind == PT_LOAD and start <= address < start + length:
                return at + address - start
        return 0


def _entries(dynamic: bytes) -> list[tuple[int, int]]:
    entries = []
    for tag, value in TAG.iter_unpack(dynamic[: len(dynamic) // TAG.size * TAG.size]):
        if tag == DT_NULL:
            break
        entries.append((tag, value))
    return entries


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
