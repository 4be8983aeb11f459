from __future__ import annotations

import llama_cpp
import psutil
import pytest
from llama_cpp import llama_cpp as api

from localrun.engine.backends.loading import load_backends
from localrun.engine.llama import ggml
from localrun.engine.llama.library import NativeLog, start
from localrun.engine.llama.placement import place, with_devices
from localrun.engine.params import LoadOptions, SplitMode
from localrun.errors import BackendError, UsageError


@pytest.fixture(autouse=True)
def _started() -> None:
    start()


@pytest.mark.parametrize(
    ("options", "num_layers"), [(LoadOptions(devices=()), -1), (LoadOptions(devices=("Gone0",)), 0)]
)
def test_the_processor_alone_takes_no_device_at_all(options: LoadOptions, num_layers: int) -> None:
    params = llama_cpp.llama_model_default_params()

    placement = place(params, options, num_layers)

    assert placement.devices == ()
    wanted = (0, api.LLAMA_SPLIT_MODE_NONE, -1)
    assert (params.n_gpu_layers, params.split_mode, params.main_gpu) == wanted


def test_a_device_that_has_gone_is_an_error_and_no_crash() -> None:
    params = llama_cpp.llama_model_default_params()

    with pytest.raises(BackendError, match="no device Gone0"):
        place(params, LoadOptions(devices=("Gone0",)), -1)


def test_a_named_device_is_passed_to_llama_cpp() -> None:
    params = llama_cpp.llama_model_default_params()
    options = LoadOptions(devices=("CPU",), split_mode=SplitMode.ROW, main_gpu=7)

    placement = place(params, options, 3)

    assert [device.name for device in placement.devices] == ["CPU"]
    assert params.devices == ggml.address(placement.array).value
    wanted = (3, api.LLAMA_SPLIT_MODE_ROW, 0)
    assert (params.n_gpu_layers, params.split_mode, params.main_gpu) == wanted


def test_devices_that_a_plan_has_named_are_not_chosen_again() -> None:
    named = LoadOptions(devices=("CUDA1",))

    assert with_devices(named, "cpu") is named
    assert with_devices(LoadOptions(), "cpu").devices == ()
    with pytest.raises(UsageError, match="no device cann"):
        with_devices(LoadOptions(), "cann:7")


def test_the_processor_is_among_the_devices() -> None:
    (processor,) = [device for device in ggml.devices() if device.name == "CPU"]

    assert processor.total_bytes >= psutil.virtual_memory().total * 0.9
    assert all(state.is_loaded for state in load_backends(NativeLog()))
