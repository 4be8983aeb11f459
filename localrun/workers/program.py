"""Program of a worker: its devices, its hello, and its end."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from localrun import __version__
from localrun.hardware.choice import CPU, check_device, choose
from localrun.hardware.cpu import read_cpu, usable_threads
from localrun.workers.hello import FarDevice, WorkerHello
from localrun.workers.serving import FarServer, answer_requests, relay, take_streams

if TYPE_CHECKING:
    from localrun.hardware.device import Device

MAX_THREADS = 512
CPU_NAME = "CPU"  # llama.cpp's name of the processor


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker offers."""

    device: str  # a choice, see hardware/choice.py
    memory_bytes: int | None = None  # most of each device; None = all that is free
    threads: int | None = None  # of the processor; None = all that are usable
    network_note: str = ""  # why the process keeps its network; empty = it has given it up


def run_worker(options: WorkerOptions) -> NoReturn:
    """Serve one client over stdin and stdout, and exit.

    Raises:
        UsageError: there is no such device.
        BackendError: llama.cpp cannot serve.
    """
    wanted = check_device(options.device)
    pipes = take_streams()
    offer = _Offer(options, wanted)
    if answer_requests(pipes, offer.hello):
        relay(pipes, offer.server.connect())
    os._exit(0)  # llama.cpp's server cannot be ended in any other way


class _Offer:
    """Devices that llama.cpp serves."""

    def __init__(self, options: WorkerOptions, wanted: str) -> None:
        from localrun.engine.backends import rpc  # loads llama.cpp
        from localrun.engine.llama import ggml
        from localrun.engine.llama.library import start

        self._log = start(backends=frozenset() if wanted == CPU else None)
        rpc.load_rpc()
        self._devices, self._options = ggml.devices, options
        gpus = choose(ggml.devices(), wanted, os.environ)
        self._names = [gpu.name for gpu in gpus] or [CPU_NAME]
        self._threads = min(options.threads or usable_threads(), MAX_THREADS)
        serve = functools.partial(rpc.serve, num_threads=self._threads, devices=self._names)
        self.server = FarServer(serve)
        self._protocol = self.server.protocol()

    def hello(self) -> WorkerHello:
        """Return the hello, with the memory that is free now."""
        return WorkerHello(
            version=__version__,
            protocol=self._protocol,
            threads=self._threads,
            has_network=bool(self._options.network_note),
            network_note=self._options.network_note,
            devices=tuple(
                self._described(device) for device in self._devices() if device.name in self._names
            ),
        )

    def _described(self, device: Device) -> FarDevice:
        """Return a device; llama.cpp counts all of the machine's memory as free for the CPU."""
        description, total_bytes, free_bytes = (
            device.description,
            device.total_bytes,
            device.free_bytes,
        )
        if not device.is_gpu:
            cpu = read_cpu()
            limit = cpu.memory_limit_bytes or cpu.total_bytes
            description, total_bytes = cpu.name, min(cpu.total_bytes, limit)
            free_bytes = cpu.available_bytes
        if self._options.memory_bytes is not None:
            free_bytes = min(free_bytes, self._options.memory_bytes)
        return FarDevice(
            name=device.name,
            description=description or device.name,
            is_gpu=device.is_gpu,
            total_bytes=total_bytes,
            free_bytes=max(0, min(total_bytes, free_bytes)),
        )
