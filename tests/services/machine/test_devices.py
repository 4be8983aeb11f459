from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import pytest

from localrun.backends.state import ENGINE, INSTALLED, BackendState
from localrun.errors import UsageError
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Machine, UnusedDevice
from localrun.hardware.reasons import why_processor
from localrun.services.machine.devices import check_choice, report_unused
from tests.hardware.making import cpu, gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

UNUSED = UnusedDevice("NVIDIA H100", "this build has no CUDA", "CMAKE_ARGS=... pip install")
FOUND = Machine(devices=(gpu("Vulkan"), cpu()), cpu=read_cpu(), unused=(UNUSED,))


def machine(_environ: Mapping[str, str]) -> Machine:
    return FOUND


def nobody(_environ: Mapping[str, str]) -> NoReturn:
    raise AssertionError("the machine is asked in vain")


@pytest.mark.parametrize("text", ["auto", "", " CPU "])
def test_a_choice_that_every_machine_has_asks_nobody(text: str) -> None:
    assert check_choice(text, {}, nobody) == (text.strip().lower() or "auto")


def test_a_device_that_is_there_is_taken() -> None:
    assert check_choice("Vulkan:0", {}, machine) == "vulkan:0"


def test_an_absent_device_is_told_with_what_would_bring_it() -> None:
    with pytest.raises(UsageError) as caught:
        check_choice("cuda", {}, machine)

    for part in ("vulkan:0", UNUSED.what, UNUSED.reason, UNUSED.fix):
        assert part in str(caught.value.hint)


def test_an_installed_backend_that_has_no_device_says_why() -> None:
    states = [
        BackendState(
            backend=name, source=source, library="l", is_loaded=True, reason="too old", fix="update"
        )
        for name, source in (("cuda", INSTALLED), ("vulkan", ENGINE))
    ]
    found = replace(FOUND, devices=(cpu(),), unused=(), backends=tuple(states))

    with pytest.raises(UsageError) as caught:
        check_choice("cuda", {}, lambda _: found)

    assert caught.value.hint == "there is: cpu; cuda: too old: update"
    assert why_processor("auto", found) == "cuda: too old: update"


def test_a_server_logs_the_cards_that_lie_idle(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        report_unused({}, machine, has_cards=True)

    assert UNUSED.fix in caplog.text


def test_a_machine_without_cards_is_not_asked() -> None:
    report_unused({}, nobody, has_cards=False)


def test_a_server_logs_what_computes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        report_unused({}, machine, has_cards=True, device="vulkan")

    assert "computing on vulkan:0 (Vulkan card); backend Vulkan" in caplog.text
