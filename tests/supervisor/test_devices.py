from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Device, DeviceKind, Machine
from localrun.supervisor import devices
from localrun.supervisor.devices import FRESH_S, ChosenDevices

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1024**3


class Probe:
    """A machine with two cards; counts how often it was asked."""

    def __init__(self) -> None:
        self.num_asked = 0

    def __call__(self, _environ: Mapping[str, str]) -> Machine:
        self.num_asked += 1
        cards = [
            Device(
                backend="CUDA",
                index=index,
                name=f"CUDA{index}",
                description="card",
                kind=DeviceKind.GPU,
                total_bytes=24 * GIB,
                free_bytes=20 * GIB,
            )
            for index in range(2)
        ]
        return Machine(devices=tuple(cards), cpu=read_cpu())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("text", "has_gpu", "names", "num_asked"),
    [
        ("auto", False, ["CPU"], 0),
        ("cpu", True, ["CPU"], 0),
        ("auto", True, ["CUDA0", "CUDA1", "CPU"], 1),
        ("cuda:1", False, ["CUDA1", "CPU"], 1),
        ("cuda:1,cuda:0", True, ["CUDA1", "CUDA0", "CPU"], 1),
        ("vulkan", True, ["CPU"], 1),
    ],
)
def test_the_chosen_ones_come_first_and_nothing_is_asked_in_vain(
    text: str, *, has_gpu: bool, names: list[str], num_asked: int
) -> None:
    probe = Probe()
    devices = ChosenDevices(text, {}, probe=probe, has_gpu=lambda _: has_gpu)

    found = [device.name for device in devices()]
    again = [device.name for device in devices()]

    assert found == again == names
    assert probe.num_asked == num_asked


def test_free_memory_is_asked_again_when_it_is_old_or_a_model_came_or_went() -> None:
    probe, clock = Probe(), Clock()
    devices = ChosenDevices("auto", {}, probe=probe, has_gpu=lambda _: True, clock=clock)
    devices()
    clock.now += FRESH_S + 1
    devices()
    devices.invalidate()
    devices()

    assert probe.num_asked == 3


def test_a_bound_holds_for_the_machines_own_memory() -> None:
    (processor,) = ChosenDevices("cpu", {}, most_bytes=GIB)()

    assert processor.total_bytes == GIB
    assert processor.free_bytes <= GIB


def test_a_system_without_proc_reports_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    (ours,) = devices.only_processor()
    monkeypatch.setattr(devices, "host_memory", lambda: None)
    (theirs,) = devices.only_processor()

    assert ours.total_bytes == theirs.total_bytes
    assert 0.5 < devices.available_bytes() / ours.free_bytes < 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need psutil")
def test_no_server_and_no_warm_process_imports_psutil() -> None:
    program = "import localrun.supervisor.pool, sys; print('psutil' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert done.stdout == "False\n"
