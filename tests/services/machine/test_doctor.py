from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from localrun.backends.manifest import EngineBuild
from localrun.backends.state import ENGINE, INSTALLED, RETRY, BackendState
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Machine, UnusedDevice
from localrun.services.machine import doctor
from localrun.services.machine.doctor import Health, HealthFinding, examine
from localrun.services.workspace import open_workspace
from localrun.workers.command import parse_commands
from tests.hardware.making import cpu, gpu

STATES = (
    BackendState(backend="vulkan", source=INSTALLED, library="v", is_loaded=True),
    BackendState(
        backend="cuda", source=ENGINE, library="c", is_loaded=False, reason="it crashed", fix=RETRY
    ),
    BackendState(
        backend="rocm", source=INSTALLED, library="r", is_loaded=False, reason="old", fix="add it"
    ),
    BackendState(backend="metal", source=ENGINE, library="m", is_loaded=False, reason="no driver"),
)
MACHINE = Machine(
    devices=(gpu("Vulkan"), cpu()),
    cpu=read_cpu(),
    backends=STATES,
    missing=(UnusedDevice("cuda", "CUDA is faster", "localrun backend add cuda.zip"),),
    engine=EngineBuild(llama_cpp_python="0.3.36", ggml="0.25.3"),
    cpu_variant="haswell",
)


def test_backends_are_listed_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALRUN_HOST", "127.0.0.1:0")

    findings = list(examine(open_workspace(os.environ), os.environ, lambda _: MACHINE))

    named = {f.what: f for f in findings if f.what.startswith(("engine", "backend"))}
    assert named["engine"].detail == "llama-cpp-python 0.3.36, ggml 0.25.3, CPU variant haswell"
    assert named["backend vulkan"] == HealthFinding("backend vulkan", Health.OK, "installed")
    assert (named["backend rocm"].health, named["backend rocm"].fix) == (Health.WARNING, "add it")
    assert named["backend metal"].health is Health.OK
    crashed = [f for f in findings if f.what == "backend cuda"]
    assert [(f.health, f.fix) for f in crashed] == [
        (Health.WARNING, RETRY),
        (Health.OK, "localrun backend add cuda.zip"),
    ]


@pytest.mark.parametrize("has_huge_pages", [True, False])
def test_a_kernel_without_huge_pages_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, *, has_huge_pages: bool
) -> None:
    monkeypatch.setenv("LOCALRUN_HOST", "127.0.0.1:0")
    monkeypatch.setattr(doctor, "has_huge_pages", lambda: has_huge_pages)

    findings = examine(open_workspace(os.environ), os.environ, lambda _: MACHINE)

    warnings = [(f.health, f.fix) for f in findings if f.what == "huge pages"]
    fix = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
    assert warnings == ([] if has_huge_pages else [(Health.WARNING, fix)])


def test_a_worker_that_does_not_answer_is_tried_by_its_own_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCALRUN_HOST", "127.0.0.1:0")
    monkeypatch.setenv("LOCALRUN_WORKERS", "/nowhere/ssh gpu1\n/nowhere/docker worker --")
    monkeypatch.setattr(doctor, "check_workers", parse_commands)

    findings = examine(open_workspace(os.environ), os.environ, lambda _: MACHINE)

    assert [f.fix for f in findings if f.what.startswith("worker")] == [
        "/nowhere/ssh gpu1 localrun version",
        "/nowhere/docker worker </dev/null   must print one line of JSON",
    ]


def test_an_installed_backend_without_a_device_warns_if_something_can_be_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCALRUN_HOST", "127.0.0.1:0")
    common: dict[str, Any] = {"source": INSTALLED, "library": "l", "is_loaded": True}
    states = (
        BackendState(backend="cuda", reason="the driver is too old", fix="update it", **common),
        BackendState(backend="vulkan", reason="it finds no device", **common),
    )
    machine = replace(MACHINE, backends=states, missing=())

    findings = examine(open_workspace(os.environ), os.environ, lambda _: machine)

    found = [(f.health, f.detail, f.fix) for f in findings if f.what.startswith("backend")]
    assert found == [
        (Health.WARNING, "is not used: the driver is too old", "update it"),
        (Health.OK, "not used: it finds no device", None),
    ]
