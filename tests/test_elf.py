"""ELF files, read without binutils: some written here, and those of this installation."""

from __future__ import annotations

import importlib.util
import platform
import struct
import sys
from pathlib import Path

import elf
import numpy as np
import pytest
from engines import portable

from tests.fakes.elf_files import elf_file

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there are no ELF files")


def test_the_names_of_a_library_are_read() -> None:
    facts = elf.parse(
        elf_file(
            ("libc.so.6", "libm.so.6"),
            soname="libx.so.1",
            interpreter="/lib64/ld.so",
            search="$ORIGIN:/opt/lib",
        )
    )

    assert facts == elf.ElfFile(
        machine="x86_64",
        needed=("libc.so.6", "libm.so.6"),
        soname="libx.so.1",
        interpreter="/lib64/ld.so",
        search=("$ORIGIN", "/opt/lib"),
    )


def test_a_static_program_needs_nothing() -> None:
    assert elf.parse(elf_file(machine=183)) == elf.ElfFile(machine="aarch64")


def test_another_machine_is_a_number() -> None:
    assert elf.parse(elf_file(machine=3)) == elf.ElfFile(machine="3")


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", elf.MAGIC])
def test_other_files_have_no_facts(data: bytes) -> None:
    assert elf.parse(data) is None


def test_the_floor_is_the_newest_version_of_glibc_that_any_library_needs(tmp_path: Path) -> None:
    first, second = tmp_path / "a.so", tmp_path / "b.so"
    versions = {"libc.so.6": ("GLIBC_2.9", "GLIBC_2.14"), "libm.so.6": ("GLIBC_2.27",)}
    first.write_bytes(elf_file(versions=versions))
    second.write_bytes(elf_file(versions={"libstdc++.so.6": ("GLIBCXX_3.4.30",)}))

    assert elf.read(first).versions == {name: {*texts} for name, texts in versions.items()}
    assert elf.glibc_floor([first, second]) == (2, 27)
    assert elf.glibc_floor([second]) == (0, 0)


@LINUX
def test_a_real_library_is_read() -> None:
    (file, *_) = Path(np.__file__).parent.glob("_core/_multiarray_umath*.so")

    facts = elf.read(file)

    assert (2, 2) < elf.glibc_floor([file]) <= tuple(map(int, platform.libc_ver()[1].split(".")))
    assert facts.machine == platform.machine()
    assert "libc.so.6" in facts.needed


def test_another_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.so"
    file.write_bytes(struct.pack("<I", 0xFEEDFACF))

    assert not elf.is_elf(file)
    with pytest.raises(elf.ElfError, match=r"a\.so is not"):
        elf.read(file)


@LINUX
def test_the_libraries_of_a_portable_engine_run_with_an_old_glibc() -> None:
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    libraries = {file.name: file for file in Path(spec.origin).parent.joinpath("lib").iterdir()}
    if not any(portable.VARIANT.fullmatch(name) for name in libraries):
        pytest.skip("the installed engine was compiled for this processor")

    portable.check(libraries, platform.machine())
