"""The order of the ways to llama-cpp-python, with pip, the trial and the compiler replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import environment
import pytest
from engines import choice, compiling, public, trial
from engines.fetching import WheelError

from tests.engines.wheels import CONTENT, Server, wheel_name

if TYPE_CHECKING:
    from pathlib import Path


class Machine:
    """A machine with a cache, where pip and the compiler only note what they do."""

    def __init__(self, cache: Path) -> None:
        self.cache, self.acts = cache, list[str]()
        self.failing: set[str] = set()  # names of installed wheels that do not compute here

    def install(self, _python: Path, wheel: Path) -> None:
        assert wheel.is_file()
        self.acts.append(f"install {wheel.parent.name}/{wheel.name}")

    def try_out(self, _python: Path) -> None:
        if any(name in self.acts[-1] for name in self.failing):
            raise WheelError("it does not compute here: killed by SIGILL")

    def compile(self, _python: Path, folder: Path) -> Path:
        self.acts.append("compile")
        return self.keep(folder.name, "linux_x86_64")

    def keep(self, folder: str, platform: str = "manylinux_2_28_x86_64", version: str = "") -> Path:
        wheel = self.cache / "wheels" / folder / wheel_name(platform=platform, version=version)
        wheel.parent.mkdir(parents=True, exist_ok=True)
        wheel.write_bytes(CONTENT)
        return wheel


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(environment, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(environment, "machine_key", lambda: "key")
    monkeypatch.setattr(environment, "install_wheel", machine.install)
    monkeypatch.setattr(trial, "run", machine.try_out)
    monkeypatch.setattr(compiling, "compile_wheel", machine.compile)
    monkeypatch.setattr(public, "cuda_version", lambda: None)
    monkeypatch.setenv(public.INDEX, server.url)
    monkeypatch.delenv(choice.WHEEL, raising=False)
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    return machine


def installed(machine: Machine) -> list[str]:
    machine.acts.clear()
    choice.install_engine(machine.cache)
    return machine.acts


def test_a_wheel_of_an_earlier_setup_comes_first(machine: Machine, server: Server) -> None:
    machine.keep("portable")
    own = machine.keep("key", "linux_x86_64")

    assert installed(machine) == [f"install key/{own.name}"]
    assert server.requests == []


def test_a_portable_wheel_comes_next_if_version_tag_and_digest_are_right(machine: Machine) -> None:
    for parts in ({"version": "0.0.1"}, {"platform": "manylinux_2_39_x86_64"}):
        machine.keep("portable", **parts)
    wheel = machine.keep("portable")

    assert installed(machine) == [f"install portable/{wheel.name}"]

    wheel.with_name(f"{wheel.name}.sha256").write_text(f"{'0' * 64}  {wheel.name}\n")
    assert installed(machine)[0] == "compile"


def test_a_public_wheel_is_kept_once_it_has_computed(machine: Machine, server: Server) -> None:
    server.add_index("cpu", wheel_name())

    assert installed(machine) == [f"install downloads/{wheel_name()}"]
    assert installed(machine) == [f"install key/{wheel_name()}"]


def test_a_wheel_that_dies_on_this_processor_makes_way_for_the_next(
    machine: Machine, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.failing = {"portable/", "downloads/"}
    machine.keep("portable")
    server.add_index("cpu", wheel_name())

    acts = installed(machine)

    assert [act.split("/")[0] for act in acts] == [
        "install portable",
        "install downloads",
        "compile",
        "install key",
    ]
    said = capsys.readouterr().err
    assert said.count("killed by SIGILL") == 2


def test_flags_of_the_user_are_compiled(
    machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_BLAS=ON")
    machine.keep("portable")

    assert installed(machine)[0] == "compile"
    assert server.requests == []


def test_a_setup_that_compiles_the_same_is_waited_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock

    def wait(lock: TextIO, how: int) -> None:
        if how == fcntl.LOCK_EX:  # the other setup ends
            machine.keep("key", "linux_x86_64")
            other.close()
        flock(lock, how)

    (machine.cache / "wheels" / "key").mkdir(parents=True)
    other = (machine.cache / "wheels" / "key" / "lock").open("w")
    flock(other, fcntl.LOCK_EX)
    monkeypatch.setattr(fcntl, "flock", wait)

    assert [act.split("/")[0] for act in installed(machine)] == ["install key"]
    assert "waiting" in capsys.readouterr().err


def test_the_demanded_wheel_is_installed_in_place_of_another(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.keep("key")
    assert not choice.is_another_demanded()
    wheel = machine.keep("elsewhere")
    monkeypatch.setenv(choice.WHEEL, str(wheel))

    assert choice.is_another_demanded()
    assert installed(machine) == [f"install elsewhere/{wheel.name}"]
    assert not choice.is_another_demanded()


def test_a_demanded_wheel_that_fails_is_an_error_and_nothing_else_is_tried(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.keep("key")
    machine.failing = {"elsewhere/"}
    monkeypatch.setenv(choice.WHEEL, str(machine.keep("elsewhere").parent))

    with pytest.raises(environment.SetupError, match=r"killed by SIGILL.*\nhint: unset"):
        choice.install_engine(machine.cache)

    assert choice.is_another_demanded()


def test_the_compiled_engine_can_use_workers_unless_the_user_switches_that_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    assert "-DGGML_RPC=on" in compiling.cmake_arguments().split()

    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_RPC=off")
    assert compiling.cmake_arguments().split()[-1] == "-DGGML_RPC=off"  # CMake takes the last one


def test_a_wheel_of_other_switches_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    key = environment.machine_key()

    monkeypatch.setattr(compiling, "SWITCHES", "")

    assert environment.machine_key() != key
