"""Headers of ELF files."""

from __future__ import annotations

import pytest
from container.elf import read_elf

from tests.container.fake_packages import elf


def test_the_names_of_a_library_are_read() -> None:
    header = read_elf(
        elf(("libc.so.6", "libm.so.6"), soname="libx.so.1", interpreter="/lib64/ld.so")
    )

    assert header is not None
    assert header.needed == ("libc.so.6", "libm.so.6")
    assert (header.soname, header.interpreter, header.machine) == (
        "libx.so.1",
        "/lib64/ld.so",
        "amd64",
    )


def test_a_static_program_needs_nothing() -> None:
    header = read_elf(elf(machine=183))

    assert header is not None
    assert (header.needed, header.soname, header.machine) == ((), None, "arm64")


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", elf(machine=3)])
def test_other_files_have_no_header(data: bytes) -> None:
    assert read_elf(data) is None
