"""The probe and the program with backends that are files, one of them Vulkan's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.probe import probe_machine
from tests.e2e.conftest import make_home
from tests.hardware.vulkan import ROOT, vulkan_environ, vulkan_package, vulkan_site
from tests.program import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.vulkan


def site_with(folder: Path, *backends: str) -> Path:
    """Copy the package with some of its backends."""
    libraries = folder / "llama_cpp" / "lib"
    source = vulkan_site() / "llama_cpp"
    shutil.copytree(source, libraries.parent, ignore=shutil.ignore_patterns("lib"))
    libraries.mkdir()
    for file in (source / "lib").iterdir():
        stem = file.name.split(".")[0]
        if stem in {"libllama", "libggml", "libggml-base", *backends}:
            os.link(file, libraries / file.name) if _can_link(file, folder) else shutil.copy(
                file, libraries
            )
    return folder


def _can_link(file: Path, folder: Path) -> bool:
    return file.stat().st_dev == folder.stat().st_dev


@pytest.mark.parametrize(("visible", "num"), [("0", 1), ("0,0", 2), ("", 0)])
def test_the_probe_sees_the_devices_that_are_visible(visible: str, num: int) -> None:
    machine = probe_machine(vulkan_environ(visible))

    labels = [device.label for device in machine.devices]
    assert machine.failure is None
    assert labels == [*(f"vulkan:{index}" for index in range(num)), "cpu:0"]
    assert all(device.total_bytes > 0 for device in machine.devices)


def test_a_backend_in_the_current_folder_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_with(tmp_path / "site", "libggml-cpu")
    with zipfile.ZipFile(vulkan_package()) as archive:
        archive.extract("libggml-vulkan.so", tmp_path)
    monkeypatch.chdir(tmp_path)

    machine = probe_machine(vulkan_environ("0", site, has_module=False))

    assert [device.label for device in machine.devices] == ["cpu:0"]


def test_a_package_without_any_backend_is_an_error_and_not_a_search_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_with(tmp_path / "site")
    shutil.copy(vulkan_site() / "llama_cpp" / "lib" / "libggml-cpu.so", tmp_path)
    monkeypatch.chdir(tmp_path)

    machine = probe_machine(vulkan_environ("0", site, has_module=False))

    assert "llama.cpp has no backend in" in (machine.failure or "")


def test_the_backend_also_fits_the_engine_that_is_compiled_for_one_machine() -> None:
    machine = probe_machine(vulkan_environ("0", ROOT))

    assert {device.label for device in machine.devices} == {"vulkan:0", "cpu:0"}


def test_a_driver_that_is_hidden_leaves_the_processor_and_a_reason() -> None:
    machine = probe_machine({**vulkan_environ("0"), "VK_DRIVER_FILES": "/nonexistent"})

    (state,) = machine.backends
    assert [device.label for device in machine.devices] == ["cpu:0"]
    assert (state.is_loaded, state.reason) == (False, "it finds no driver that works")


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_cuda_backend_without_its_libraries_falls_back_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    site = site_with(tmp_path / "site", "libggml-cpu")
    _link_with_something_missing(site / "llama_cpp" / "lib" / "libggml-cuda.so", tmp_path)
    program = tmp_path / "bin" / "nvidia-smi"  # a card, so that the reason matters
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "NVIDIA L4, 00000000:C1:00.0, 580.65"\n')
    program.chmod(0o755)
    environ = vulkan_environ("0", site)

    machine = probe_machine({**environ, "PATH": f"{program.parent}:{environ['PATH']}"})

    assert [device.label for device in machine.devices] == ["vulkan:0", "cpu:0"]
    (unused,) = machine.unused
    assert unused.what == "NVIDIA L4"
    assert "libcudart.so.99" in unused.reason
    assert 'pip install "nvidia-cuda-runtime==99.*"' in unused.fix


def _link_with_something_missing(target: Path, scratch: Path) -> None:
    compiler = ["cc", "-shared", "-x", "c"]
    missing = scratch / "libcudart.so.99"
    subprocess.run(
        [*compiler, "-o", missing, "-Wl,-soname,libcudart.so.99", "-"],
        check=True,
        input=b"int cudaInit(void) { return 0; }",
    )
    subprocess.run(
        [*compiler, "-Wl,--no-as-needed", "-o", target, "-", "-x", "none", missing],
        check=True,
        input=b"int cudaInit(void); int unused(void) { return cudaInit(); }",
    )
    missing.unlink()


def test_the_program_answers_on_two_gpus_and_says_so(tmp_path: Path) -> None:
    environ = vulkan_environ("0,0")
    home = make_home(tmp_path)
    names = ("PYTHONPATH", "GGML_VK_VISIBLE_DEVICES", "XDG_DATA_HOME")
    home.environ.update({name: environ[name] for name in names})
    try:
        answer = home.run("run", "guide", "What is a model?", "--device", "vulkan")
        shown = home.run("why", "guide", "--json")
        refused = home.run("run", "guide", "hi", "--device", "cpu")
    finally:
        home.run("stop", "--server")

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout
    told = json.loads(shown.stdout)
    planned = {share["device"]: share["total_bytes"] for share in told["plan"]["devices"]}
    device = next(it for it in told["settings"] if it["name"] == "device")
    assert device["reason"] == "vulkan was asked for"
    assert planned.keys() == told["memory"].keys() == {"Vulkan0", "CPU"}  # one is enough
    assert told["memory"]["Vulkan0"] == pytest.approx(planned["Vulkan0"], rel=0.1)
    assert refused.returncode == 2
    assert "the running server uses device vulkan, not cpu" in refused.stderr


def test_a_device_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PROGRAM, "serve", "--device", "vulkan:1"],
        check=False,
        capture_output=True,
        text=True,
        env={**vulkan_environ("0"), "LOCALRUN_HOST": "127.0.0.1:1", "HOME": str(tmp_path)},
    )

    assert done.returncode == 2
    assert "no device vulkan:1" in done.stderr
    assert "vulkan:0 (llvmpipe" in done.stderr
