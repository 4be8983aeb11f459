"""Headers of ELF files: the machine, and the libraries that the dynamic linker loads.

Reads 64-bit little-endian files, which x86-64 and aarch64 are; other files have no header here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01"
MACHINES = {62: "amd64", 183: "arm64"}  # as Debian and OCI name them
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 14, 15, 29
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SEGMENT = struct.Struct("<IIQQQQQQ")
TAG = struct.Struct("<qQ")


@dataclass(frozen=True, slots=True)
class ElfHeader:
    """What the dynamic linker reads of one file."""

    machine: str
    interpreter: str | None
    soname: str | None
    needed: tuple[str, ...]
    search: tuple[str, ...] = ()  # folders, in which $ORIGIN is that of the file


def read_elf(data: bytes) -> ElfHeader | None:
    """Return the header, None if the data is no 64-bit ELF file of a known machine."""
    if not data.startswith(MAGIC) or len(data) < HEADER.size:
        return None
    fields = HEADER.unpack_from(data)
    machine = MACHINES.get(fields[2])
    if machine is None:
        return None
    offset, size, count = fields[5], fields[9], fields[10]
    segments = [SEGMENT.unpack_from(data, offset + i * size) for i in range(count)]
    interpreter = None
    tags: list[tuple[int, int]] = []
    for kind, _, at, _, _, length, _, _ in segments:
        if kind == PT_INTERP:
            interpreter = _text(data, at)
        elif kind == PT_DYNAMIC:
            tags = _tags(data[at : at + length])
    table = next((_file_offset(segments, value) for tag, value in tags if tag == DT_STRTAB), 0)
    names = {
        tag: [_text(data, table + at) for t, at in tags if t == tag]
        for tag in (DT_NEEDED, DT_SONAME, DT_RPATH, DT_RUNPATH)
    }
    soname = names[DT_SONAME][0] if names[DT_SONAME] else None
    search = [
        path for tag in (DT_RPATH, DT_RUNPATH) for text in names[tag] for path in text.split(":")
    ]
    return ElfHeader(machine, interpreter, soname, tuple(names[DT_NEEDED]), tuple(search))


def _tags(dynamic: bytes) -> list[tuple[int, int]]:
    tags = []
    for tag, value in TAG.iter_unpack(dynamic[: len(dynamic) // TAG.size * TAG.size]):
        if tag == DT_NULL:
            break
        tags.append((tag, value))
    return tags


def _file_offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _, at, start, _, length, _, _ in segments:
        if kind == PT_LOAD and start <= address < start + length:
            return at + address - start
    return 0


def _text(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()
