"""ELF files, read without binutils: a library written here, and those of this installation."""

from __future__ import annotations

import importlib.util
import platform
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from engines import elf, portable

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there are no ELF files")


def library(versions: dict[str, list[str]], needed: list[str], machine: int = 62) -> bytes:
    """Return an ELF file with nothing but dynamic entries and needed versions."""
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        strings.extend(value.encode() + b"\0")
        return len(strings) - 1 - len(value)

    needs = b""
    for number, (file, names) in enumerate(versions.items()):
        entries = [
            elf.NEEDED_VERSION.pack(0, 0, 0, text(name), 0 if name is names[-1] else 16)
            for name in names
        ]
        is_last = number == len(versions) - 1
        size = 16 + 16 * len(entries)
        needs += elf.NEEDED_FILE.pack(1, len(names), text(file), 16, 0 if is_last else size)
        needs += b"".join(entries)
    dynamic = b"".join(elf.DYNAMIC_ENTRY.pack(elf.DT_NEEDED, text(name)) for name in needed)
    start = elf.HEADER.size
    parts = [bytes(strings), needs, dynamic]
    offsets = [start, start + len(parts[0]), start + len(parts[0]) + len(needs)]
    table = offsets[-1] + len(dynamic)
    sections = [(3, 0), (elf.VERSION_NEEDS, len(versions)), (elf.DYNAMIC, 0)]
    entries = [
        elf.SECTION.pack(0, kind, 0, 0, offset, len(part), 0, info, 1, 0)
        for (kind, info), offset, part in zip(sections, offsets, parts, strict=True)
    ]
    header = (elf.MAGIC.ljust(16, b"\0"), 3, machine, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 0)
    return elf.HEADER.pack(*header) + b"".join(parts) + b"".join(entries)


def test_the_floor_is_the_newest_version_of_glibc_that_any_library_needs(tmp_path: Path) -> None:
    first, second = tmp_path / "a.so", tmp_path / "b.so"
    first.write_bytes(
        library(
            {"libc.so.6": ["GLIBC_2.9", "GLIBC_2.14"], "libm.so.6": ["GLIBC_2.27"]}, ["libm.so.6"]
        )
    )
    second.write_bytes(library({"libstdc++.so.6": ["GLIBCXX_3.4.30"]}, [], machine=183))

    assert elf.needed_versions(first)["libc.so.6"] == {"GLIBC_2.9", "GLIBC_2.14"}
    assert elf.needed_libraries(first) == ["libm.so.6"]
    assert elf.glibc_floor([first, second]) == (2, 27)
    assert elf.glibc_floor([second]) == (0, 0)
    assert [elf.machine(first), elf.machine(second)] == ["x86_64", "aarch64"]


@LINUX
def test_a_real_library_is_read() -> None:
    (file, *_) = Path(np.__file__).parent.glob("_core/_multiarray_umath*.so")

    assert (2, 2) < elf.glibc_floor([file]) <= tuple(map(int, platform.libc_ver()[1].split(".")))
    assert elf.machine(file) == platform.machine()
    assert "libc.so.6" in elf.needed_libraries(file)


def test_another_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.so"
    file.write_bytes(struct.pack("<I", 0xFEEDFACF))

    with pytest.raises(elf.ElfError, match=r"a\.so is not"):
        elf.machine(file)


@LINUX
def test_the_libraries_of_a_portable_engine_run_with_an_old_glibc() -> None:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    libraries = {file.name: file for file in Path(spec.origin).parent.joinpath("lib").iterdir()}
    if not any(portable.VARIANT.fullmatch(name) for name in libraries):
        pytest.skip("the installed engine was compiled for this processor")

    portable.check(libraries, platform.machine())
