"""Health checks of everything that localrun needs.

Each finding is one line: the checked thing, its health, and what to type if it is not well.
Changes nothing, and uses no network but that of the workers' commands.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.backends.state import ENGINE, RETRY
from localrun.client.launch import find_server
from localrun.client.service_address import has_service
from localrun.engine.llama.memory.huge_pages import SETTING, has_huge_pages
from localrun.errors import LocalrunError
from localrun.hardware.choice import choose
from localrun.hardware.probe import probe_machine
from localrun.services.machine.devices import check_choice
from localrun.services.machine.workers import check_workers
from localrun.supervisor.worker_offers import WorkerOffers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from localrun.backends.state import BackendState
    from localrun.hardware.device import Machine
    from localrun.services.workspace import Workspace
    from localrun.settings import Settings
    from localrun.workers.command import WorkerCommand
    from localrun.workers.hello import WorkerHello

GIB = 1024**3
LITTLE_DISK, LITTLE_MEMORY = 5 * GIB, 2 * GIB


class Health(StrEnum):
    """Health of a checked thing."""

    OK = "ok"
    WARNING = "warning"  # works, but could be better
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """Result of one check."""

    what: str
    health: Health
    detail: str
    fix: str | None = None


def examine(
    workspace: Workspace,
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
) -> Iterator[HealthFinding]:
    """Yield the findings as they come; blocks about a second in all."""
    settings = workspace.settings
    yield _store(workspace)
    folders = (
        ("models", settings.models_dir, "LOCALRUN_MODELS"),
        ("cache", settings.prompts_dir.parent, "LOCALRUN_CACHE"),
        ("logs", settings.log_dir, "LOCALRUN_LOG_DIR"),
    )
    for what, folder, variable in folders:
        yield _folder(what, folder, variable)
    yield _disk(settings.models_dir)
    yield _server(settings)
    machine = probe(environ)
    yield from _devices(settings, environ, machine)
    yield _memory(machine)
    if not has_huge_pages():
        detail = "the kernel gives no huge pages: answers of the processor take up to 15 % longer"
        yield HealthFinding(
            "huge pages", Health.WARNING, detail, f"echo madvise | sudo tee {SETTING}"
        )
    yield from _workers(settings)


def _store(workspace: Workspace) -> HealthFinding:
    try:
        models = workspace.models.list_models()
    except (LocalrunError, OSError) as error:
        return HealthFinding("store", Health.WRONG, str(error), "localrun verify")
    total = sum(model.size_bytes for model in models)
    return HealthFinding("store", Health.OK, f"{len(models)} models, {_gigabytes(total)}")


def _folder(what: str, folder: Path, variable: str) -> HealthFinding:
    """Check that a folder is writable, or its nearest existing parent."""
    existing = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        detail = f"{existing} cannot be written: {error.strerror}"
        return HealthFinding(what, Health.WRONG, detail, f"{variable}=/another/folder, or chown it")
    return HealthFinding(what, Health.OK, str(folder))


def _disk(folder: Path) -> HealthFinding:
    free = shutil.disk_usage(_nearest(folder)).free
    if free < LITTLE_DISK:
        detail = f"only {_gigabytes(free)} are free for models"
        return HealthFinding(
            "disk", Health.WARNING, detail, "localrun prune, or LOCALRUN_MODELS=/other"
        )
    return HealthFinding("disk", Health.OK, f"{_gigabytes(free)} are free for models")


def _server(settings: Settings) -> HealthFinding:
    try:
        client = find_server(settings)
        version = None if client is None else (client.version() or {}).get("localrun")
    except LocalrunError as error:
        return HealthFinding("server", Health.WRONG, error.message, error.hint)
    if client is not None:
        return HealthFinding("server", Health.OK, f"version {version} runs at {settings.address}")
    if has_service(settings):
        detail = f"none runs, the service starts one at {settings.address}"
        return HealthFinding("server", Health.OK, detail)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        detail = f"{settings.address} cannot be used: {error.strerror}"
        fix = "LOCALRUN_HOST=127.0.0.1:11500 localrun serve"
        return HealthFinding("server", Health.WRONG, detail, fix)
    return HealthFinding("server", Health.OK, f"none runs, {settings.address} is free")


def _devices(
    settings: Settings, environ: Mapping[str, str], machine: Machine
) -> Iterator[HealthFinding]:
    """Yield the devices in use, the unused ones, and whether driver and llama.cpp match."""
    if machine.failure is not None:
        yield HealthFinding("devices", Health.WRONG, machine.failure, "localrun serve --device cpu")
    if machine.engine is not None:
        variant = f", CPU variant {machine.cpu_variant}" if machine.cpu_variant else ""
        yield HealthFinding("engine", Health.OK, f"{machine.engine}{variant}")
    yield from _backends(machine)
    for device in machine.devices:
        if device.is_gpu:
            driver = f", driver {device.driver}" if device.driver else ""
            free = f"{_gigabytes(device.free_bytes)} of {_gigabytes(device.total_bytes)} free"
            yield HealthFinding(device.label, Health.OK, f"{device.description}{driver}: {free}")
    for gpu in machine.unused:
        yield HealthFinding(gpu.what, Health.WARNING, f"is not used: {gpu.reason}", gpu.fix)
    try:
        wanted = check_choice(settings.device, environ, lambda _: machine)
        chosen = choose(machine.devices, wanted, environ)
    except LocalrunError as error:
        yield HealthFinding("device", Health.WRONG, error.message, error.hint)
        return
    names = ", ".join(device.label for device in chosen) or f"the processor, {machine.cpu.name}"
    yield HealthFinding("device", Health.OK, f"{settings.device}: {names}")


def _backends(machine: Machine) -> Iterator[HealthFinding]:
    """Yield the backends that are not used; one that crashed or does not fit is a warning."""
    for state in machine.backends:
        what = f"backend {state.backend}"
        if state.is_loaded and not state.reason:
            yield HealthFinding(what, Health.OK, state.source)
        elif _is_no_fault(state):
            yield HealthFinding(what, Health.OK, f"not used: {state.reason}")
        else:
            detail = f"is {'not used' if state.is_loaded else 'skipped'}: {state.reason}"
            yield HealthFinding(what, Health.WARNING, detail, state.fix or None)
    for missing in machine.missing:
        detail = f"not installed: {missing.reason}"
        yield HealthFinding(f"backend {missing.what}", Health.OK, detail, missing.fix)


def _is_no_fault(state: BackendState) -> bool:
    """Return whether nobody expects more: no card, or a backend that the user did not install."""
    if state.source == ENGINE:
        return state.fix != RETRY
    return state.is_loaded and not state.fix


def _memory(machine: Machine) -> HealthFinding:
    cpu = machine.cpu
    detail = f"{_gigabytes(cpu.available_bytes)} of {_gigabytes(cpu.total_bytes)} free"
    if cpu.memory_limit_bytes:
        detail += f", this container may take {_gigabytes(cpu.memory_limit_bytes)}"
    detail += f"; {cpu.num_usable} of {cpu.num_logical} processors usable"
    if cpu.available_bytes < LITTLE_MEMORY:
        return HealthFinding(
            "memory", Health.WARNING, detail, "localrun stop --all, or a smaller model"
        )
    return HealthFinding("memory", Health.OK, detail)


def _workers(settings: Settings) -> Iterator[HealthFinding]:
    """Ask the workers of the settings; yield one finding for each."""
    try:
        commands = check_workers(settings.workers)
    except LocalrunError as error:
        yield HealthFinding("worker", Health.WRONG, error.message, error.hint)
        return
    with WorkerOffers(commands) as offers:
        answers = offers.ask()
    for command, offer in zip(commands, answers, strict=True):
        what = f"worker {offer.name}"
        if offer.hello is None:
            detail = offer.error.message if offer.error else "it does not answer"
            yield HealthFinding(what, Health.WRONG, detail, _trial(command))
        else:
            yield HealthFinding(what, Health.OK, _described(offer.hello))


def _trial(command: WorkerCommand) -> str:
    """Return what to type to see why a worker does not answer."""
    if command.is_complete:
        return f"{command.name} </dev/null   must print one line of JSON"
    return f"{command.name} localrun version"


def _described(hello: WorkerHello) -> str:
    free = ", ".join(
        f"{_gigabytes(device.free_bytes)} of {_gigabytes(device.total_bytes)} free on "
        f"{device.description}"
        for device in hello.devices
    )
    network = f"keeps its network: {hello.network_note}" if hello.has_network else "without network"
    return f"{free}; {hello.threads} threads, localrun {hello.version}, {network}"


def _nearest(folder: Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    return next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
