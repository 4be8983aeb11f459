"""Python of the binary: what is built for another processor, and where it cannot be."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import environment
import pytest
from packing import interpreter

if TYPE_CHECKING:
    from pathlib import Path

HERE = platform.machine()
ELSEWHERE = next(name for name in ("aarch64", "x86_64") if name != HERE)


def test_python_for_another_processor_needs_a_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "why_no_root", lambda: "there is no debootstrap")

    with pytest.raises(environment.SetupError, match=rf"{ELSEWHERE} .*: there is no debootstrap"):
        interpreter.copy_python(tmp_path / "python", ELSEWHERE)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(HERE != "x86_64", reason="a root for aarch64 is made on x86-64")
def test_the_libraries_of_both_processors_are_installed_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(interpreter, "_run", lambda command, _log: commands.append(command))
    monkeypatch.setattr(interpreter, "_built_python", lambda _architecture: tmp_path / "here")
    for folder in ("here", "root"):
        (tmp_path / folder).mkdir()

    interpreter._make_root(tmp_path / "root", "aarch64", 2)

    debootstrap, install = commands
    here = {name for name in debootstrap[2].partition("=")[2].split(",") if name.endswith("-dev")}
    there = {word.removesuffix(":arm64") for word in install[-1].split() if ":arm64" in word}
    assert there == here - {"libc6-dev"}
    assert "gcc-aarch64-linux-gnu" in install[-1].split()
    assert (tmp_path / "root" / "opt" / "build-python").is_dir()


def test_each_processor_has_a_folder_of_its_own() -> None:
    assert interpreter._folder("aarch64") != interpreter._folder("x86_64")
