"""Device choice: the devices that `LOCALRUN_DEVICE` and `--device` select.

    auto                 all GPUs, each card once; integrated ones only if there is no other
    cpu                  none of them
    gpu                  as auto, and an error if there is none
    cuda, vulkan, ...    all of a backend
    cuda:1               one of them, numbered as llama.cpp does
    cuda:0,cuda:1        several

Backends apply `CUDA_VISIBLE_DEVICES` and the like themselves; this module only hides the same
cards from other backends, such as Vulkan.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from localrun.errors import UsageError
from localrun.hardware.device import DeviceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from localrun.hardware.device import Device

AUTO, CPU, GPU = "auto", "cpu", "gpu"
FORM = re.compile(r"([a-z]+):?(\d{1,3})?", re.ASCII)
# the fastest first, then those that are not listed, in llama.cpp's order
PREFERENCE = ("CUDA", "ROCm", "MUSA", "CANN", "Metal", "SYCL", "Vulkan", "OpenCL")
SAME = {"hip": "rocm", "amd": "rocm", "nvidia": "cuda", "mtl": "metal", "vk": "vulkan"}
KNOWN = frozenset({AUTO, CPU, GPU, *SAME, *(name.lower() for name in PREFERENCE)})
VISIBLE = {  # variables that hide a maker's cards from its own backend
    "nvidia": ("CUDA_VISIBLE_DEVICES",),
    "amd": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    "radeon": ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
    "intel": ("ONEAPI_DEVICE_SELECTOR",),
}
GENERAL = ("Vulkan", "OpenCL")  # backends for the cards of all makers
GENERAL_VISIBLE = "GGML_VK_VISIBLE_DEVICES"


def check_device(text: str) -> str:
    """Return the choice as it is compared.

    Raises:
        UsageError: not the name of a device; whether the machine has it is not looked at.
    """
    wanted = text.strip().lower() or AUTO
    for word in wanted.split(","):
        match = FORM.fullmatch(word.strip())
        numbered = match is not None and match[2] is not None
        is_known = match is not None and match[1] in KNOWN
        if not is_known or (numbered and match is not None and match[1] in {AUTO, CPU, GPU}):
            raise UsageError(
                f"{text} is not the name of a device",
                hint="auto, cpu, gpu, cuda, cuda:1, rocm, metal, vulkan, sycl, or several: "
                "cuda:0,cuda:1",
            )
    return wanted


def choose(devices: Sequence[Device], text: str, environ: Mapping[str, str]) -> tuple[Device, ...]:
    """Return the devices for the layers, the best first; empty means the processor alone.

    Raises:
        UsageError: no such device exists; the hint lists the devices.
    """
    gpus = sorted((device for device in devices if device.is_gpu), key=_rank)
    wanted = check_device(text)
    if wanted == CPU:
        return ()
    if wanted in {AUTO, GPU}:
        best = _best(_visible(gpus, environ))
        if not best and wanted == GPU:
            raise _absent(wanted, gpus)
        return best
    chosen: list[Device] = []
    for word in wanted.split(","):
        named = [device for device in gpus if _is_named(device, word.strip())]
        if not named:
            raise _absent(word.strip(), gpus)
        chosen += [device for device in named if device not in chosen]
    return tuple(chosen)


def unique(devices: Iterable[Device]) -> list[Device]:
    """Return each card once, for its best backend; ``devices`` has the best backends first."""
    seen: set[str] = set()
    cards = []
    for device in devices:
        if device.unit_id is None or device.unit_id not in seen:
            cards.append(device)
        if device.unit_id is not None:
            seen.add(device.unit_id)
    return cards


def _rank(device: Device) -> tuple[bool, int, int]:
    known = device.backend in PREFERENCE
    place = PREFERENCE.index(device.backend) if known else len(PREFERENCE)
    return device.kind is DeviceKind.IGPU, place, device.index


def _best(gpus: list[Device]) -> tuple[Device, ...]:
    """Return the discrete cards, else the integrated ones of the best backend."""
    once = unique(gpus)
    discrete = tuple(device for device in once if device.kind is DeviceKind.GPU)
    return discrete or tuple(device for device in once if device.backend == once[0].backend)


def _visible(gpus: list[Device], environ: Mapping[str, str]) -> list[Device]:
    """Return the GPUs without those that the user hid from another backend."""
    own = {device.unit_id for device in gpus if device.backend not in GENERAL and device.unit_id}
    if GENERAL_VISIBLE in environ:
        return gpus
    return [
        device
        for device in gpus
        if device.backend not in GENERAL
        or device.unit_id in own
        or not _is_hidden(device.description, environ)
    ]


def _is_hidden(description: str, environ: Mapping[str, str]) -> bool:
    words = set(re.split(r"[^a-z]+", description.lower()))
    return any(
        name in environ for maker, names in VISIBLE.items() if maker in words for name in names
    )


def _is_named(device: Device, word: str) -> bool:
    match = FORM.fullmatch(word)
    if match is None:
        return False
    is_same = device.backend.lower() == SAME.get(match[1], match[1])
    return is_same and (match[2] is None or int(match[2]) == device.index)


def _absent(word: str, gpus: list[Device]) -> UsageError:
    there = ["cpu", *(f"{device.label} ({device.description})" for device in gpus)]
    return UsageError(
        f"this machine has no device {word} that llama.cpp can use",
        hint=f"there is: {', '.join(there)}",
    )
