"""ELF libraries: the versions of other libraries' symbols that a library needs, without readelf.

    needed_versions(file)  ->  {"libc.so.6": {"GLIBC_2.14", "GLIBC_2.2.5"}, ...}
    glibc_floor(files)     ->  (2, 27): the oldest glibc that has all symbols

Only little-endian 64-bit files are read (x86-64, aarch64). The layout is that of the System V ABI
and of the Linux Standard Base's chapter on symbol versions.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
DYNAMIC_ENTRY = struct.Struct("<QQ")
NEEDED_FILE = struct.Struct("<HHIII")  # Elf64_Verneed: version, count, file, aux, next
NEEDED_VERSION = struct.Struct("<IHHII")  # Elf64_Vernaux: hash, flags, other, name, next
DYNAMIC, VERSION_NEEDS = 6, 0x6FFFFFFE  # section types
DT_NEEDED, DT_SONAME = 1, 14
GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)")
MACHINES = {62: "x86_64", 183: "aarch64"}


class ElfError(Exception):
    """A file that is not a 64-bit little-endian ELF file."""


def machine(file: Path) -> str:
    """Return the processor that the library is compiled for, such as "x86_64"."""
    number = HEADER.unpack_from(_read(file))[2]
    return MACHINES.get(number, str(number))


def needed_libraries(file: Path) -> list[str]:
    """Return the names of the libraries that the library is linked with."""
    return _dynamic(_read(file), DT_NEEDED)


def soname(file: Path) -> str | None:
    """Return the name by which other libraries refer to this one, or None if it has none."""
    return next(iter(_dynamic(_read(file), DT_SONAME)), None)


def needed_versions(file: Path) -> dict[str, set[str]]:
    """Return the symbol versions that the library needs, by the library that defines them."""
    data = _read(file)
    needs: dict[str, set[str]] = {}
    for kind, entry, _, strings, num_files in _sections(data):
        if kind != VERSION_NEEDS:
            continue
        offset = entry
        for _ in range(num_files):
            _, num_versions, name, first, following = NEEDED_FILE.unpack_from(data, offset)
            known = needs.setdefault(_text(data, strings + name), set())
            position = offset + first
            for _ in range(num_versions):
                _, _, _, version, step = NEEDED_VERSION.unpack_from(data, position)
                known.add(_text(data, strings + version))
                position += step
            offset += following
    return needs


def glibc_floor(files: Iterable[Path]) -> tuple[int, int]:
    """Return the oldest version of glibc that the libraries run with; (0, 0) if they use none."""
    versions = (v for file in files for names in needed_versions(file).values() for v in names)
    found = (GLIBC.fullmatch(version) for version in versions)
    return max(((int(match[1]), int(match[2])) for match in found if match), default=(0, 0))


def _read(file: Path) -> bytes:
    data = file.read_bytes()
    if not data.startswith(MAGIC):
        raise ElfError(f"{file} is not a 64-bit little-endian ELF file")
    return data


def _sections(data: bytes) -> list[tuple[int, int, int, int, int]]:
    """Return (type, offset, size, offset of the linked strings, sh_info) of each section."""
    header = HEADER.unpack_from(data)
    table, size, count = header[6], header[11], header[12]
    entries = [SECTION.unpack_from(data, table + number * size) for number in range(count)]
    return [
        (entry[1], entry[4], entry[5], entries[entry[6]][4], entry[7])
        for entry in entries
        if entry[6] < len(entries)
    ]


def _dynamic(data: bytes, tag: int) -> list[str]:
    return [
        _text(data, strings + value)
        for kind, offset, size, strings, _ in _sections(data)
        if kind == DYNAMIC
        for entry, value in DYNAMIC_ENTRY.iter_unpack(data[offset : offset + size])
        if entry == tag
    ]


def _text(data: bytes, position: int) -> str:
    return data[position : data.index(b"\0", position)].decode()
