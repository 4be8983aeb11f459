"""Backends of this machine: installing and removing modules, and the reasons of the choice.

A module comes from a file or a URL. It is checked against its digest, this machine and the running
build of llama.cpp before it is installed, and probed afterwards.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from localrun.backends.failures import RememberedFailures
from localrun.backends.folder import install, modules_folder, remove
from localrun.backends.manifest import LIBRARIES, package_name, why_not_engine, why_not_machine
from localrun.backends.package import open_package
from localrun.disk import storage_errors
from localrun.errors import BackendError, IntegrityError, NetworkError, UsageError
from localrun.hardware.choice import AUTO, choose
from localrun.hardware.probe import probe_machine
from localrun.hardware.reasons import absent_device
from localrun.hardware.summary import describe_computing
from localrun.private import make_private_folder
from localrun.registry.http import Http, http_error
from localrun.settings import LOOPBACK_HOSTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from localrun.backends.manifest import EngineBuild, ModuleManifest
    from localrun.hardware.device import Device, Machine
    from localrun.settings import Settings

MAX_PACKAGE_BYTES = 2 << 30
PIECE_BYTES = 1 << 20
SHA256 = re.compile(r"(?:sha256[:=])?([0-9a-f]{64})", re.ASCII)
OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRow:
    """One backend, with its devices and the reason why it is not used."""

    backend: str
    source: str
    state: str  # "used", "loaded", "no device" or "skipped"
    devices: tuple[str, ...]
    reason: str
    fix: str
    library: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOverview:
    """All backends for GPUs, the devices of the choice, and the reason of it."""

    engine: str
    computes: str  # devices, backends and the CPU's variant
    rows: tuple[BackendRow, ...]
    chosen: tuple[str, ...]
    notes: tuple[str, ...]  # cards that a missing backend would bring, with the command


def overview(
    settings: Settings,
    environ: Mapping[str, str],
    probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
    *,
    retries: bool = False,
) -> BackendOverview:
    """Probe the machine and return its backends; blocks about half a second.

    ``retries`` lets backends run again that crashed in an earlier probe.

    Raises:
        UsageError: the machine does not have the device of the settings.
        BackendError: llama.cpp cannot be loaded.
    """
    if retries:
        RememberedFailures(environ).forget()
    machine = probe(environ)
    engine = _engine(machine)
    try:
        chosen = choose(machine.devices, settings.device, environ)
    except UsageError as error:
        raise absent_device(error, machine) from error
    notes = [f"{gpu.what} is not used: {gpu.reason}: {gpu.fix}" for gpu in machine.unused]
    notes += [f"{missing.reason}: {missing.fix}" for missing in machine.missing]
    return BackendOverview(
        engine=str(engine),
        computes=describe_computing(machine, chosen),
        rows=tuple(_rows(machine, chosen)),
        chosen=tuple(device.label for device in chosen) or ("cpu:0",),
        notes=tuple(notes),
    )


def add_backend(
    source: str,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    sha256: str | None = None,
    probe: Callable[[Mapping[str, str]], Machine] = probe_machine,
) -> BackendRow:
    """Install a module from a file or URL, and return what a probe finds of it.

    Raises:
        UsageError: the source is a URL without digest, or not https.
        BackendError: the module fits neither this machine nor this build of llama.cpp.
        IntegrityError: the file is damaged, or no module.
        NetworkError: the download failed.
        StorageError: the folder cannot be written.
    """
    with _fetched(source, settings, environ, sha256) as path, open_package(path) as package:
        manifest = package.manifest
        _check(manifest, _engine(probe(environ)))
        install(package)
    machine = probe(environ)
    rows = _rows(machine, choose(machine.devices, AUTO, environ))
    row = next((row for row in rows if row.backend == manifest.backend), None)
    if row is None:
        raise BackendError(
            f"{manifest.backend} is installed, and the probe of it failed: {machine.failure}",
            hint=f"localrun backend remove {manifest.backend}",
        )
    return row


def remove_backend(name: str) -> None:
    """Remove an installed module.

    Raises:
        UsageError: no backend has this name.
        NotFoundError: none of that name is installed.
    """
    if name not in LIBRARIES:
        raise UsageError(f"{name} is not a backend", hint=f"one of {', '.join(LIBRARIES)}")
    remove(name)


def _engine(machine: Machine) -> EngineBuild:
    if machine.engine is None:
        raise BackendError(
            machine.failure or "llama.cpp cannot be loaded",
            hint="localrun doctor   checks the installation",
        )
    return machine.engine


def _check(manifest: ModuleManifest, engine: EngineBuild) -> None:
    reason = why_not_machine(manifest) or why_not_engine(manifest, engine)
    if reason is not None:
        fitting = package_name(manifest.backend, engine.llama_cpp_python)
        raise BackendError(
            f"this {manifest.backend} backend does not fit: {reason}",
            hint=f"localrun backend add {fitting}   fits",
        )


def _rows(machine: Machine, chosen: tuple[Device, ...]) -> Iterator[BackendRow]:
    for state in machine.backends:
        devices = [device for device in machine.devices if device.backend.lower() == state.backend]
        is_used = state.is_loaded and any(device in chosen for device in devices)
        known = "used" if is_used else "loaded" if devices else "no device"
        yield BackendRow(
            backend=state.backend,
            source=state.source,
            state=known if state.is_loaded else "skipped",
            devices=tuple(device.label for device in devices) if state.is_loaded else (),
            reason=state.reason,
            fix=state.fix,
            library=state.library,
        )


@contextmanager
def _fetched(
    source: str, settings: Settings, environ: Mapping[str, str], sha256: str | None
) -> Iterator[Path]:
    """Yield the path of a source, downloaded if it is a URL, with the digest checked if given."""
    address, _, fragment = source.partition("#")
    wanted = _digest(sha256 or fragment or None)
    if "://" not in source:
        path = Path(source).expanduser()
        if wanted is not None and path.is_file():
            _verify(path, wanted, source)
        yield path
        return
    _check_address(address, wanted)
    folder = modules_folder()
    with storage_errors(folder):
        make_private_folder(folder, own=folder)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
            path = Path(scratch, Path(urlsplit(address).path).name or "backend.zip")
            _download(address, path, Http(environ, is_offline=settings.is_offline))
            _verify(path, wanted or "", address)
            yield path


def _check_address(address: str, wanted: str | None) -> None:
    parts = urlsplit(address)
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
    )
    if not is_safe:
        raise UsageError(f"{address} is not an https address", hint="localrun backend add FILE")
    if wanted is None:
        raise UsageError(
            "a backend from a URL needs its digest: it is a program",
            hint=f"localrun backend add {address} --sha256 DIGEST",
        )


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    match = SHA256.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"{text} is not a SHA-256 digest", hint="--sha256 takes 64 hex digits")
    return match[1]


def _download(address: str, path: Path, http: Http) -> None:
    try:
        with http.open(address) as response, path.open("wb") as file:
            if response.status != OK:
                raise http_error(response, urlsplit(address).path)
            size = 0
            while piece := response.read(PIECE_BYTES):
                size += len(piece)
                if size > MAX_PACKAGE_BYTES:
                    raise NetworkError(f"{address} sends more than {MAX_PACKAGE_BYTES} bytes")
                file.write(piece)
    finally:
        http.close()


def _verify(path: Path, wanted: str, source: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise IntegrityError(
            f"{source} has the digest {found[:16]}…, not {wanted[:16]}…",
            hint="check the digest, and download it again",
        )
