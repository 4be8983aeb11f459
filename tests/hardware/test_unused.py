from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from localrun.backends.state import BackendState
from localrun.hardware.report import Card, ProbeReport
from localrun.hardware.unused import Surroundings, find_unused, rebuild_command
from tests.hardware.making import card, cpu, gpu

if TYPE_CHECKING:
    from localrun.hardware.device import Device

HERE = Surroundings(python="/v/bin/python", version="0.3.36")
CONTAINER = Surroundings(python="/v/bin/python", version="0.3.36", is_container=True)
ON_THE_BUS = card(source="pci", name="NVIDIA GPU at 0000:c1:00.0", has_driver=False)
RADEON = Card(maker="AMD", name="gfx1100", source="kfd", unit_id="0000:03:00.0")
ARC = Card(maker="Intel", name="Intel GPU at 0000:00:02.0", source="pci", unit_id="0000:00:02.0")


def only(cards: list[Card], around: Surroundings = HERE, **unloaded: str) -> tuple[str, str, str]:
    """Return the one thing that is not used."""
    (found,) = find_unused([cpu()], ProbeReport(cards=cards, unloaded=unloaded), around)
    return found.what, found.reason, found.fix


@pytest.mark.parametrize(
    ("cards", "backend", "switch"),
    [
        ([ON_THE_BUS, card()], "CUDA", "GGML_CUDA"),
        ([RADEON], "ROCm", "GGML_HIP"),
        ([ARC], "Vulkan", "GGML_VULKAN"),
        ([Card(maker="Apple", name="Apple GPU", source="platform")], "Metal", "GGML_METAL"),
        ([Card(maker="", name="Mali-G710", source="vulkan")], "Vulkan", "GGML_VULKAN"),
    ],
)
def test_a_build_without_the_backend_is_told_how_to_get_it(
    cards: list[Card], backend: str, switch: str
) -> None:
    what, reason, fix = only(cards)

    assert what == cards[-1].name
    assert reason == f"this build of llama.cpp has no {backend}"
    assert shlex.split(fix) == [
        f"CMAKE_ARGS=-D{switch}=on", "/v/bin/python", "-m", "pip", "install", "--force-reinstall",
        "--no-deps", "--no-cache-dir", "--no-binary", "llama-cpp-python",
        "llama-cpp-python==0.3.36",
    ]  # fmt: skip


def test_an_environment_without_pip_is_told_the_command_of_uv() -> None:
    without = Surroundings(python="/v/bin/python", version="0.3.36", has_pip=False)

    assert "uv pip install --python /v/bin/python" in rebuild_command("CUDA", without)


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        (
            "libcudart.so.13: cannot open",
            'install "nvidia-cuda-runtime==13.*" "nvidia-cublas==13.*"',
        ),
        ("libcublas.so.12: cannot open", 'install "nvidia-cuda-runtime-cu12" "nvidia-cublas-cu12"'),
        ("libcuda.so.1: cannot open", "sudo apt install nvidia-driver"),
        ("undefined symbol: ggml_x", "GGML_CUDA"),
    ],
)
def test_a_backend_that_does_not_load_says_what_it_misses(reason: str, fix: str) -> None:
    _, why, command = only([card()], cuda=reason)

    assert reason in why
    assert fix in command


def test_a_backend_without_devices_says_why_it_does_not_use_the_card() -> None:
    old = BackendState(
        backend="cuda", source="installed", library="c", is_loaded=True, reason="too old", fix="new"
    )
    report = ProbeReport(cards=[card()], backends=[old])

    (found,) = find_unused([cpu()], report, HERE)

    assert (found.reason, found.fix) == ("llama.cpp's CUDA backend finds no device: too old", "new")


@pytest.mark.parametrize(
    ("around", "fix"), [(HERE, "apt install nvidia-driver"), (CONTAINER, "--gpus all")]
)
def test_a_card_on_the_bus_alone_has_no_driver(around: Surroundings, fix: str) -> None:
    assert fix in only([ON_THE_BUS], around)[2]


def test_what_the_user_hid_is_not_a_defect() -> None:
    hidden = Surroundings(variables={"CUDA_VISIBLE_DEVICES": ""})

    assert only([card()], hidden)[1:] == (
        "CUDA_VISIBLE_DEVICES= hides it",
        "unset CUDA_VISIBLE_DEVICES",
    )


@pytest.mark.parametrize(
    "device",
    [
        gpu("CUDA", unit_id="0000:c1:00.0"),
        gpu("Vulkan", unit_id="0000:c1:00.0"),
        gpu("CUDA"),
        gpu("Vulkan", description="NVIDIA H100"),
    ],
)
def test_a_card_that_some_backend_uses_is_used(device: Device) -> None:
    cards = [ON_THE_BUS, card(), Card(maker="NVIDIA", name="NVIDIA H100", source="vulkan")]

    assert find_unused([device, cpu()], ProbeReport(cards=cards), HERE) == ()


def test_the_second_card_of_a_pair_is_named() -> None:
    second = card(unit_id="0000:c2:00.0", name="NVIDIA L4")

    found = find_unused(
        [gpu("CUDA", unit_id="0000:c1:00.0")], ProbeReport(cards=[card(), second]), HERE
    )

    assert [one.what for one in found] == ["NVIDIA L4"]
    assert "does not list it" in found[0].reason
