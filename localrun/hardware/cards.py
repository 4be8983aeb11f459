"""Graphics cards of the machine, as drivers and the kernel list them, without llama.cpp.

Only the probe may call the drivers, because a broken one may hang or crash. Other processes may
call `may_have_gpu`, which reads the kernel's files alone.
"""

from __future__ import annotations

import ctypes
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.hardware.choice import GENERAL_VISIBLE
from localrun.hardware.report import Card

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KFD = Path("/sys/class/kfd/kfd/topology/nodes")
PCI = Path("/sys/bus/pci/devices")
AMD_DRIVER = Path("/sys/module/amdgpu/version")
RENDERERS = Path("/dev/dri")  # also of GPUs that are not on the PCI bus
DRIVERS = Path("/dev")
DRIVER_NODES = ("nvidia[0-9]*", "nvhost-gpu", "nvgpu")  # also in a sandbox without a PCI bus
WSL = Path("/dev/dxg")  # the GPU of Linux inside of Windows
MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
DISPLAY_CLASS = "0x03"
TEXT_BYTES = 96
SMI_TIMEOUT_S = 8
SMI_FIELDS = "name,pci.bus_id,driver_version"
VULKAN_KINDS = ("other", "integrated", "discrete", "virtual", "cpu")


def finders() -> list[Callable[[], list[Card]]]:
    """Return the functions that list cards, the harmless ones first."""
    return [pci_cards, amd_cards, apple_cards, nvidia_cards, vulkan_cards]


def may_have_gpu(environ: Mapping[str, str]) -> bool:
    """Return whether a GPU may exist, by the kernel's files; fast.

    Devices of Vulkan that ``environ`` names may also be drivers that compute on the processor.
    """
    if platform.system() != "Linux" or environ.get(GENERAL_VISIBLE):
        return True
    has_node = any(node for name in DRIVER_NODES for node in DRIVERS.glob(name))
    has_renderer = WSL.exists() or any(RENDERERS.glob("renderD*"))
    return has_node or has_renderer or bool(pci_cards() or amd_cards())


def pci_cards(root: Path = PCI) -> list[Card]:
    """Return the graphics cards on the PCI bus, also those without a driver."""
    cards = []
    for folder in sorted(root.glob("*")):
        maker = MAKERS.get(_line(folder / "vendor"))
        if maker and _line(folder / "class").startswith(DISPLAY_CLASS):
            has_driver = (folder / "driver").exists()
            address = folder.name.lower()
            cards.append(
                Card(
                    maker=maker,
                    name=f"{maker} GPU at {address}",
                    source="pci",
                    unit_id=address,
                    has_driver=has_driver,
                )
            )
    return cards


def amd_cards(nodes: Path = KFD, driver: Path = AMD_DRIVER) -> list[Card]:
    """Return AMD's cards that the kernel's compute driver lists."""
    cards = []
    for node in sorted(nodes.glob("*")):
        properties = dict(
            pieces
            for line in _text(node / "properties").splitlines()
            if len(pieces := line.split()) == 2  # noqa: PLR2004 - name and value
        )
        if int(properties.get("simd_count", "0")) == 0:  # a processor
            continue
        cards.append(
            Card(
                maker="AMD",
                name=_line(node / "name") or "AMD GPU",
                source="kfd",
                unit_id=_kfd_address(properties),
                driver=_line(driver) or None,
            )
        )
    return cards


def apple_cards() -> list[Card]:
    """Return the GPU of an Apple chip."""
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    return [Card(maker="Apple", name="Apple GPU", source="platform")]


def nvidia_cards() -> list[Card]:
    """Return NVIDIA's cards as NVML lists them, or nvidia-smi."""
    library = _library("libnvidia-ml.so.1", "nvml.dll")
    if library is None or library.nvmlInit_v2() != 0:
        return _smi_cards()
    version = ctypes.create_string_buffer(TEXT_BYTES)
    library.nvmlSystemGetDriverVersion(version, TEXT_BYTES)
    cuda, num_cards = ctypes.c_int(), ctypes.c_uint()
    library.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(cuda))
    library.nvmlDeviceGetCount_v2(ctypes.byref(num_cards))
    cards = []
    for index in range(num_cards.value):
        handle, name, info = ctypes.c_void_p(), ctypes.create_string_buffer(TEXT_BYTES), _NvmlPci()
        if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
            continue
        library.nvmlDeviceGetName(handle, name, TEXT_BYTES)
        library.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(info))
        cards.append(
            Card(
                maker="NVIDIA",
                name=name.value.decode(errors="replace"),
                source="nvml",
                unit_id=pci_address(info.bus_id.decode(errors="replace")),
                driver=version.value.decode(errors="replace") or None,
                cuda=f"{cuda.value // 1000}.{cuda.value % 1000 // 10}" if cuda.value else None,
            )
        )
    library.nvmlShutdown()
    return cards


def vulkan_cards() -> list[Card]:
    """Return the cards that Vulkan lists, without software renderers."""
    library = _library("libvulkan.so.1", "vulkan-1.dll", "libvulkan.1.dylib")
    if library is None:
        return []
    instance, count = ctypes.c_void_p(), ctypes.c_uint()
    order = _VulkanInstance(structure=1)
    if library.vkCreateInstance(ctypes.byref(order), None, ctypes.byref(instance)) != 0:
        return []  # no driver is installed
    library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    handles = (ctypes.c_void_p * count.value)()
    library.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), handles)
    cards = []
    for handle in handles[: count.value]:
        properties = ctypes.create_string_buffer(2048)  # a struct of 824 bytes
        library.vkGetPhysicalDeviceProperties(ctypes.c_void_p(handle), properties)
        if (card := vulkan_card(properties.raw)) is not None:
            cards.append(card)
    library.vkDestroyInstance(instance, None)
    return cards


def vulkan_card(properties: bytes) -> Card | None:
    """Return the card of a ``VkPhysicalDeviceProperties``, or None if it is no GPU."""
    vendor, kind = (int.from_bytes(properties[at : at + 4], "little") for at in (8, 16))
    if kind >= len(VULKAN_KINDS) or VULKAN_KINDS[kind] in {"cpu", "other"}:
        return None
    name = properties[20:276].split(b"\0", 1)[0].decode(errors="replace")
    return Card(maker=MAKERS.get(f"{vendor:#06x}", ""), name=name, source="vulkan")


def pci_address(text: str) -> str | None:
    """Return a PCI address in the kernel's form: NVIDIA's domain has eight digits."""
    domain, _, rest = text.strip().lower().partition(":")
    return f"{domain[-4:].zfill(4)}:{rest}" if rest else None


class _NvmlPci(ctypes.Structure):
    """``nvmlPciInfo_t``."""

    _fields_ = (
        ("legacy_id", ctypes.c_char * 16),
        ("numbers", ctypes.c_uint * 5),
        ("bus_id", ctypes.c_char * 32),
    )


class _VulkanInstance(ctypes.Structure):
    """``VkInstanceCreateInfo``."""

    _fields_ = (
        ("structure", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint),
        ("application", ctypes.c_void_p),
        ("num_layers", ctypes.c_uint),
        ("layers", ctypes.c_void_p),
        ("num_extensions", ctypes.c_uint),
        ("extensions", ctypes.c_void_p),
    )


def _smi_cards() -> list[Card]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    done = subprocess.run(  # noqa: S603 - the driver's own program
        [program, f"--query-gpu={SMI_FIELDS}", "--format=csv,noheader"],
        check=False,
        capture_output=True,
        text=True,
        timeout=SMI_TIMEOUT_S,
    )
    rows = [line.split(", ") for line in done.stdout.splitlines()] if done.returncode == 0 else []
    return [
        Card(
            maker="NVIDIA",
            name=row[0],
            source="nvidia-smi",
            unit_id=pci_address(row[1]),
            driver=row[2],
        )
        for row in rows
        if len(row) == len(SMI_FIELDS.split(","))
    ]


def _kfd_address(properties: dict[str, str]) -> str | None:
    """Return the PCI address of a ``location_id``."""
    try:
        location, domain = int(properties["location_id"]), int(properties.get("domain", "0"))
    except (KeyError, ValueError):
        return None
    bus, slot, function = location >> 8 & 0xFF, location >> 3 & 0x1F, location & 7
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function}"


def _library(*names: str) -> Any:  # noqa: ANN401 - a ctypes library
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _line(file: Path) -> str:
    return _text(file).strip()


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
