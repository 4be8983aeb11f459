from __future__ import annotations

import pytest

from localrun.errors import UsageError
from localrun.hardware.choice import check_device, choose
from localrun.hardware.device import DeviceKind
from tests.hardware.making import cpu, gpu, igpu

CARD, OTHER = "0000:c1:00.0", "0000:c2:00.0"
TWO_CARDS_BY_TWO_BACKENDS = [
    gpu("Vulkan", 0, unit_id=CARD, description="NVIDIA RTX"),
    gpu("Vulkan", 1, unit_id=OTHER, description="NVIDIA RTX"),
    gpu("CUDA", 0, unit_id=CARD),
    gpu("CUDA", 1, unit_id=OTHER),
    cpu(),
]


def labels(devices: list[object], text: str, **environ: str) -> list[str]:
    return [device.label for device in choose(devices, text, environ)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("auto", ["cuda:0", "cuda:1"]),
        ("", ["cuda:0", "cuda:1"]),
        ("gpu", ["cuda:0", "cuda:1"]),
        ("cpu", []),
        ("cuda", ["cuda:0", "cuda:1"]),
        ("nvidia", ["cuda:0", "cuda:1"]),
        ("CUDA:1", ["cuda:1"]),
        ("cuda1", ["cuda:1"]),
        ("vulkan", ["vulkan:0", "vulkan:1"]),
        ("cuda:1,cuda:0,cuda", ["cuda:1", "cuda:0"]),
    ],
)
def test_a_card_that_two_backends_see_counts_once(text: str, expected: list[str]) -> None:
    assert labels([*TWO_CARDS_BY_TWO_BACKENDS], text) == expected


def test_cards_without_an_address_are_all_different() -> None:
    assert labels([gpu("Vulkan", 0), gpu("Vulkan", 1)], "auto") == ["vulkan:0", "vulkan:1"]


def test_an_integrated_gpu_is_used_only_where_there_is_no_other() -> None:
    integrated = [igpu("Vulkan", 0), igpu("SYCL", 0), cpu()]

    assert labels([*integrated, gpu("Vulkan", 1)], "auto") == ["vulkan:1"]
    assert labels([*integrated, gpu("Vulkan", 1)], "vulkan") == ["vulkan:1", "vulkan:0"]
    assert labels([*integrated], "auto") == ["sycl:0"]


def test_a_machine_without_a_gpu_uses_its_processor() -> None:
    helper = gpu("BLAS", kind=DeviceKind.ACCEL)

    assert labels([cpu(), helper], "auto") == []


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ["cuda:0", "vulkan:1"]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ["cuda:0"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "GGML_VK_VISIBLE_DEVICES": "0,1"}, ["cuda:0", "vulkan:1"]),
        ({"HIP_VISIBLE_DEVICES": "0"}, ["cuda:0", "vulkan:1"]),
    ],
)
def test_a_hidden_card_does_not_come_back_by_vulkan(
    environ: dict[str, str], expected: list[str]
) -> None:
    shown = [device for device in TWO_CARDS_BY_TWO_BACKENDS if device.label != "cuda:1"]

    assert labels([*shown], "auto", **environ) == expected


@pytest.mark.parametrize("text", ["cuda:2", "metal", "cuda:0,rocm"])
def test_an_absent_device_is_an_error_that_lists_those_that_there_are(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(TWO_CARDS_BY_TWO_BACKENDS, text, {})

    assert text.rsplit(",", maxsplit=1)[-1] in caught.value.message
    assert caught.value.hint is not None
    for label in ("cpu", "cuda:0", "cuda:1", "vulkan:0", "vulkan:1"):
        assert label in caught.value.hint


def test_a_gpu_that_is_asked_for_and_absent_is_an_error() -> None:
    with pytest.raises(UsageError, match="no device gpu"):
        choose([cpu()], "gpu", {})


@pytest.mark.parametrize("text", ["cud", "cuda:x", "cpu:1", "auto2", "cuda:-1", "0", ",", "cuda,"])
def test_what_is_no_name_is_refused_whatever_the_machine_has(text: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a device"):
        check_device(text)
