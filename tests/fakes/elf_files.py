"""ELF files as small as their reader allows: only what the dynamic linker would read."""

from __future__ import annotations

import struct
from itertools import chain
from typing import TYPE_CHECKING

import elf

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = 0x1000  # where the file is mapped: addresses are not offsets
READ, NUM_SEGMENTS = 4, 3
X86_64, LIBRARY = 62, 3
PT_NOTE = 4  # in place of an interpreter


def elf_file(
    needed: tuple[str, ...] = (),
    *,
    soname: str = "",
    interpreter: str = "",
    machine: int = X86_64,
    search: str = "",
    versions: Mapping[str, tuple[str, ...]] | None = None,
) -> bytes:
    """Return an ELF file with these names in its headers."""
    versions = versions or {}
    names = (*needed, soname, interpreter, search, *versions, *chain(*versions.values()))
    strings, offsets = b"\0", dict[str, int]()
    for name in dict.fromkeys(names):
        offsets[name] = len(strings)
        strings += name.encode() + b"\0"
    needs = _needed_versions(versions, offsets)
    strings_at = elf.HEADER.size + NUM_SEGMENTS * elf.SEGMENT.size
    needs_at = strings_at + len(strings)
    dynamic_at = needs_at + len(needs)
    tags = [(elf.DT_NEEDED, offsets[name]) for name in needed]
    tags += [(elf.DT_SONAME, offsets[soname])] if soname else []
    tags += [(elf.DT_RUNPATH, offsets[search])] if search else []
    if needs:
        tags += [(elf.DT_VERNEED, BASE + needs_at), (elf.DT_VERNEEDNUM, len(versions))]
    tags += [(elf.DT_STRTAB, BASE + strings_at), (elf.DT_NULL, 0)]
    dynamic = b"".join(elf.TAG.pack(*tag) for tag in tags)
    end = dynamic_at + len(dynamic)
    segments = [
        (elf.PT_LOAD, 0, end),
        (elf.PT_DYNAMIC, dynamic_at, len(dynamic)),
        (
            elf.PT_INTERP if interpreter else PT_NOTE,
            strings_at + offsets[interpreter],
            len(interpreter),
        ),
    ]
    headers = b"".join(
        elf.SEGMENT.pack(kind, READ, at, BASE + at, BASE + at, size, size, 1)
        for kind, at, size in segments
    )
    return _header(machine) + headers + strings + needs + dynamic


def _header(machine: int) -> bytes:
    ident = elf.MAGIC.ljust(struct.calcsize("16s"), b"\0")
    sizes = (elf.HEADER.size, elf.SEGMENT.size, NUM_SEGMENTS, 0, 0, 0)
    return elf.HEADER.pack(ident, LIBRARY, machine, 1, 0, elf.HEADER.size, 0, 0, *sizes)


def _needed_versions(versions: Mapping[str, tuple[str, ...]], offsets: Mapping[str, int]) -> bytes:
    needs = b""
    for library, names in versions.items():
        step = elf.NEEDED_FILE.size + len(names) * elf.NEEDED_VERSION.size
        needs += elf.NEEDED_FILE.pack(1, len(names), offsets[library], elf.NEEDED_FILE.size, step)
        needs += b"".join(
            elf.NEEDED_VERSION.pack(0, 0, 0, offsets[name], elf.NEEDED_VERSION.size)
            for name in names
        )
    return needs
