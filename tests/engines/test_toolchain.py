"""Programs that CMake takes for compilers, with a shell script in place of Zig."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

import environment
import pytest
from engines import toolchain

if TYPE_CHECKING:
    from pathlib import Path

ZIG = """#!/bin/sh
for word do echo "<$word>"; done
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return any Python; the cache has a Zig that prints its arguments."""
    key = hashlib.sha256(toolchain.LOCK.read_bytes()).hexdigest()[:16]
    zig = tmp_path / "toolchain" / key / "ziglang" / "zig"
    zig.parent.mkdir(parents=True)
    zig.write_text(ZIG)
    zig.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(environment, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(environment, "build_tools", lambda _python: {})
    return tmp_path / "python"


def arguments(compiler: Path, *words: str) -> list[str]:
    """Return the arguments that Zig is started with."""
    done = subprocess.run([compiler, *words], check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("march", "mcpu"),
    [
        ("armv8-a", "generic+v8a"),
        ("armv8.2-a+dotprod+fp16", "generic+v8_2a+dotprod+fullfp16"),
        ("armv9.2-a+fp16+sve+i8mm+sme", "generic+v9_2a+fullfp16+sve+i8mm+sme"),
    ],
)
def test_processors_of_arm_have_the_names_that_zig_knows(
    march: str, mcpu: str, python: Path
) -> None:
    tools = toolchain.ensure(python, "aarch64")

    words = arguments(tools.cxx, "-c", f"-march={march}", "a b.cpp", "-DX='y'")

    assert words[:3] == ["<c++>", "<-target>", "<aarch64-linux-gnu.2.28>"]
    assert words[-4:] == ["<-c>", f"<-mcpu={mcpu}>", "<a b.cpp>", "<-DX='y'>"]


def test_other_processors_keep_their_names(python: Path) -> None:
    tools = toolchain.ensure(python, "x86_64")

    assert arguments(tools.c, "-march=x86-64-v3")[-1] == "<-march=x86-64-v3>"


def test_another_architecture_is_compiled_across(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    own, other = (toolchain.ensure(python, name) for name in toolchain.ARCHITECTURES)

    assert "CMAKE_SYSTEM_PROCESSOR" not in own.switches()
    assert other.switches()["CMAKE_SYSTEM_PROCESSOR"] == "aarch64"
    assert other.platform_tag == "manylinux_2_28_aarch64"
