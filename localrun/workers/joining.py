"""Workers of a runner: their relays, and llama.cpp's devices behind them.

A device of a worker is named by the worker wherever somebody reads it. llama.cpp names it RPC0 and
describes it by the port of the relay, which is another one each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.backends import rpc
from localrun.errors import LoadError
from localrun.workers.devices import device_names
from localrun.workers.relay import WorkerRelay

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    LostWorker = Callable[[str, str], None]  # the worker's name, and the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedDevice:
    """A device of a worker in this process."""

    name: str  # as the plan has it
    native_name: str  # llama.cpp's, "RPC0"
    buffer_owner: str  # in llama.cpp's log and errors


class JoinedWorkers:
    """The workers that llama.cpp of this process uses."""

    def __init__(
        self, names: Sequence[str], links: Sequence[socket.socket], on_lost: LostWorker
    ) -> None:
        """Connect llama.cpp to the workers, in order; blocks.

        Raises:
            LoadError: a link is missing.
            BackendError: this build of llama.cpp has no RPC.
        """
        if len(names) != len(links):
            raise LoadError(f"{len(names)} workers are needed, and {len(links)} links came")
        if names:
            rpc.load_rpc()
        self._relays: list[WorkerRelay] = []
        self.devices: list[JoinedDevice] = []
        for name, link in zip(names, links, strict=True):
            relay = WorkerRelay(link, lambda reason, name=name: on_lost(name, reason))  # type: ignore[misc]
            self._relays.append(relay)
            natives = rpc.add_endpoint(relay.endpoint)
            for index, planned in enumerate(device_names(name, len(natives))):
                owner = rpc.buffer_owner(relay.endpoint, index)
                self.devices.append(
                    JoinedDevice(name=planned, native_name=natives[index], buffer_owner=owner)
                )

    @property
    def cpu_s(self) -> float:
        """Return the processor time that all workers have taken so far."""
        return sum(relay.cpu_s for relay in self._relays)

    def native_names(self, names: Sequence[str] | None) -> tuple[str, ...] | None:
        """Return llama.cpp's names of devices, those of workers and others."""
        natives = {device.name: device.native_name for device in self.devices}
        return None if names is None else tuple(natives.get(name, name) for name in names)

    def planned_names(self) -> dict[str, str]:
        """Return the names of the plan by llama.cpp's."""
        return {device.native_name: device.name for device in self.devices}

    def named(self, text: str) -> str:
        """Return a text of llama.cpp with the workers' names in place of its own."""
        for device in self.devices:
            text = text.replace(device.buffer_owner, f"`{device.name}`")
        return text

    def close(self) -> None:
        """Let the links end without an error."""
        for relay in self._relays:
            relay.close()


NO_WORKERS = JoinedWorkers((), (), lambda _name, _reason: None)
