"""Loads over workers: asked only if the model does not fit, and sent as llama.cpp counts layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.engine.params import SplitMode
from localrun.errors import LocalrunError, NetworkError
from localrun.hardware.plan import HOST_RESERVE
from localrun.store.store import embedded_models
from localrun.supervisor.devices import only_processor
from localrun.supervisor.model import RunnerModel
from localrun.supervisor.planning import plan_load
from localrun.supervisor.worker_offers import WorkerOffer
from localrun.workers.devices import worker_devices
from tests.workers.hellos import hello

if TYPE_CHECKING:
    from localrun.hardware.device import Device
    from localrun.supervisor.planning import PlannedLoad

GUIDE = embedded_models()["guide:latest"]
MIB = 1 << 20


def offer(name: str, error: LocalrunError | None = None) -> WorkerOffer:
    devices = () if error else tuple(worker_devices(name, hello()))
    return WorkerOffer(name=name, at=0.0, devices=devices, error=error)


def planned(
    free_bytes: int, *offers: WorkerOffer, num_gpu_layers: int = -1
) -> tuple[PlannedLoad, int]:
    """Return the load with so much memory above the reserve, and how often workers were asked."""
    num_asked = 0

    def devices() -> list[Device]:
        (processor,) = only_processor()
        return [replace(processor, free_bytes=HOST_RESERVE + free_bytes)]

    def ask() -> list[WorkerOffer]:
        nonlocal num_asked
        num_asked += 1
        return list(offers)

    model = RunnerModel(name="guide:latest", shards=(GUIDE,), digest="", size_bytes=0)
    model = replace(model, num_gpu_layers=num_gpu_layers)
    return plan_load(model, None, devices, workers=ask), num_asked


def test_a_model_that_fits_here_asks_nobody() -> None:
    load, num_asked = planned(500 * MIB, offer("ssh gpu1"))

    assert num_asked == 0
    assert (load.load.workers, load.load.keeps_output) == ((), False)


def test_a_recipe_for_the_processor_alone_asks_nobody() -> None:
    load, num_asked = planned(16 * MIB, offer("ssh gpu1"), num_gpu_layers=0)

    assert (load.load.workers, num_asked) == ((), 0)


def test_a_model_that_does_not_is_divided() -> None:
    load, _ = planned(16 * MIB, offer("ssh gpu1"))
    sent, plan = load.load, load.plan

    assert plan is not None
    assert plan.fits
    assert sent.workers == ("ssh gpu1",)
    assert sent.options.devices == ("ssh gpu1",)
    assert sent.options.split_mode == SplitMode.LAYER
    assert not sent.options.use_mmap
    assert sent.num_gpu_layers == plan.split.num_gpu_layers + 1  # llama.cpp counts the output
    assert list(sent.tensor_split) == [float(sent.num_gpu_layers)]
    assert sent.keeps_output
    (setting,) = [each for each in load.settings if each.name == "worker"]
    assert setting.value == f"ssh gpu1: {plan.split.num_gpu_layers} layers"


def test_a_worker_that_is_away_is_named_among_the_settings() -> None:
    away = offer("ssh gpu1", NetworkError("the worker `ssh gpu1` cannot be used: no such host"))
    load, _ = planned(16 * MIB, away, offer("ssh gpu2"))

    assert load.load.workers == ("ssh gpu2",)
    assert [each.message for each in load.away] == [away.error.message if away.error else ""]
    reasons = [each.reason for each in load.settings if each.value == "ssh gpu1"]
    assert reasons == ["the worker `ssh gpu1` cannot be used: no such host"]
