from __future__ import annotations

from dataclasses import replace

from localrun.backends.manifest import EngineBuild
from localrun.backends.state import ENGINE, INSTALLED, BackendState
from localrun.hardware.cpu import read_cpu
from localrun.hardware.device import Machine
from localrun.hardware.report import ProbeReport
from localrun.hardware.summary import describe_computing
from localrun.hardware.unused import Surroundings, find_missing, find_unused
from tests.hardware.making import card, cpu, gpu

ENGINE_BUILD = EngineBuild(llama_cpp_python="0.3.36", ggml="0.25.3")
PLAIN = Machine(devices=(cpu(),), cpu=replace(read_cpu(), name="a processor"))


def loaded(backend: str, source: str) -> BackendState:
    return BackendState(backend=backend, source=source, library="x", is_loaded=True)


def test_the_processor_is_described_with_its_variant() -> None:
    assert describe_computing(PLAIN, ()) == "the processor (a processor)"
    assert describe_computing(replace(PLAIN, cpu_variant="haswell"), ()) == (
        "the processor (a processor); CPU variant haswell"
    )


def test_cards_are_described_with_their_backend_and_where_it_comes_from() -> None:
    states = (loaded("vulkan", INSTALLED), loaded("cuda", ENGINE))
    machine = replace(PLAIN, backends=states, cpu_variant="zen4")
    chosen = (gpu("CUDA"), gpu("Vulkan"), gpu("Vulkan", 1))

    assert describe_computing(machine, chosen) == (
        "cuda:0 (CUDA card), vulkan:0 (Vulkan card), vulkan:1 (Vulkan card); "
        "backend CUDA; installed backend Vulkan; CPU variant zen4"
    )


def test_a_card_of_nvidia_without_cuda_is_told_what_is_faster() -> None:
    slow = gpu("Vulkan", description="NVIDIA L4")

    (missing,) = find_missing([slow, cpu()], ENGINE_BUILD)

    assert missing.what == "cuda"
    assert "NVIDIA L4 computes by Vulkan" in missing.reason
    assert missing.fix.startswith("localrun backend add localrun-backend-cuda-0.3.36-")
    assert find_missing([slow, gpu("CUDA")], ENGINE_BUILD) == ()
    assert find_missing([gpu("Vulkan", description="AMD Radeon")], ENGINE_BUILD) == ()


def test_a_portable_build_is_told_to_add_a_module_and_not_to_compile() -> None:
    report = ProbeReport(cards=[card()], engine=ENGINE_BUILD, cpu_variant="haswell")

    (unused,) = find_unused([cpu()], report, Surroundings())

    assert unused.fix.startswith("localrun backend add localrun-backend-cuda-0.3.36-")
