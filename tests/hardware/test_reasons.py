from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from localrun.hardware.choice import choose
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Machine, UnusedDevice
from localrun.hardware.reasons import why_gpus, why_processor
from localrun.hardware.shape import MAX_STRETCH, context_note, longest_context
from tests.hardware.making import cpu, gpu, igpu

if TYPE_CHECKING:
    from localrun.hardware.device import Device

CARD = "0000:c1:00.0"
IDLE = UnusedDevice("NVIDIA H100", "this build of llama.cpp has no CUDA", "pip install it")


def machine(*devices: Device, **others: object) -> Machine:
    return Machine(devices=(*devices, cpu()), cpu=read_cpu(), **others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "found", "reason"),
    [
        ("cpu", None, "the processor alone was asked for"),
        ("auto", None, "this machine has no GPU"),
        ("auto", machine(failure="the probe took more than 20 s"), "took more than 20 s"),
        ("auto", machine(unused=(IDLE,)), "NVIDIA H100: this build of llama.cpp has no CUDA: pip"),
        ("auto", machine(gpu("Vulkan")), "the environment hides vulkan:0"),
        ("auto", machine(), "llama.cpp finds no GPU"),
    ],
)
def test_the_processor_alone_has_its_reason(text: str, found: Machine | None, reason: str) -> None:
    assert reason in why_processor(text, found)


@pytest.mark.parametrize(
    ("text", "devices", "reason"),
    [
        ("cuda:0", [gpu("CUDA"), gpu("CUDA", 1)], "cuda:0 was asked for"),
        ("auto", [gpu("CUDA")], "the only GPU that counts: discrete"),
        ("auto", [gpu("CUDA"), gpu("CUDA", 1)], "all 2 GPUs that count: discrete"),
        ("auto", [igpu("Vulkan")], "the only GPU that counts: integrated, as there is no other"),
        (
            "auto",
            [gpu("CUDA", unit_id=CARD), gpu("Vulkan", unit_id=CARD), igpu("Vulkan", 1)],
            "the only GPU that counts: discrete; vulkan:0 is the same card; vulkan:1 is integrated",
        ),
        (
            "auto",
            [igpu("SYCL"), igpu("Vulkan")],
            "the only GPU that counts: integrated, as there is no other; vulkan:0 is left out",
        ),
    ],
)
def test_chosen_gpus_have_their_reason(text: str, devices: list[Device], reason: str) -> None:
    found = machine(*devices)

    assert why_gpus(text, choose(found.devices, text, {}), found) == reason


@pytest.mark.parametrize(
    ("asked", "trained", "stretching", "note"),
    [
        (None, 2048, "", ""),
        (2048, 2048, "rope_scaling yarn", ""),
        (4096, 2048, "", "cut from 4096 to the model's own 2048 tokens"),
        (9000, None, "", "cut from 9000 to 8192 tokens: the file does not tell the model's"),
        (4096, 2048, "yarn", "stretched from the model's own 2048 tokens by yarn"),
    ],
)
def test_a_context_that_is_not_as_asked_is_told(
    asked: int | None, trained: int | None, stretching: str, note: str
) -> None:
    assert context_note(asked, trained, stretching) == note


def test_stretching_beyond_its_bound_is_told_to_be_cut() -> None:
    note = context_note(2**40, 2048, "rope_scaling yarn")

    assert note.endswith(f"cut from {2**40}: {MAX_STRETCH} times is the most")
    assert longest_context(2048, "rope_scaling yarn") == MAX_STRETCH * 2048
