"""Conversion of a safetensors folder: by our own converter, else by llama.cpp's.

Ours needs nothing else and knows the families in `localrun.convert.families`. llama.cpp's knows
all that its engine can run; it is packed once from llama-cpp-python's sources, which are pinned by
digest, and needs the packages of the extra ``convert``.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from localrun.convert.config import read_config
from localrun.convert.upstream import component as components
from localrun.disk import remove_abandoned, storage_errors, temporary_beside
from localrun.errors import NetworkError, UsageError
from localrun.hardware.cpu import host_memory
from localrun.private import make_private_folder
from localrun.registry.remote import FileSource, RemoteFile
from localrun.registry.transfer.download import download
from localrun.registry.transfer.options import DownloadOptions
from localrun.store.locks import locked
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.convert.upstream.component import Component
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace

CONFIG_FILE = "config.json"
INDEX_VARIABLE, INDEX = "LOCALRUN_INDEX", "https://pypi.org"
INDEX_TYPE = "application/vnd.pypi.simple.v1+json"
INSTALL = "pip install 'localrun[convert]' --extra-index-url https://download.pytorch.org/whl/cpu"
CANNOT_UNDO = ("bitsandbytes", "aqlm", "quip", "eetq", "hqq", "vptq", "spqr")
OURS = ("", "mxfp4", "fp8", "gptq", "awq", "modelopt", "compressed-tensors")
FILES = {Role.WEIGHTS: "model.gguf", Role.PROJECTOR: "projector.gguf"}
LABELS = {Role.WEIGHTS: "converting", Role.PROJECTOR: "converting the projector"}
OK = 200


def convert(
    workspace: Workspace, folder: Path, scratch: Path, report: ProgressReport
) -> list[tuple[Role, Path]]:
    """Convert the model of ``folder`` to GGUF files in ``scratch``.

    Raises:
        UsageError: no converter knows the architecture, or a setting cannot be converted.
        NotFoundError: a file is missing.
        IntegrityError: a file is damaged or contradicts another.
        StorageError: the disk does not take the file.
        NetworkError: llama.cpp's converter is needed and cannot be downloaded.
        BackendError: llama.cpp's converter crashed.
    """
    from localrun.convert.families.table import FAMILIES  # numpy: few recipes need it
    from localrun.convert.model import convert_folder

    config = read_config(folder, CONFIG_FILE)
    names = config.texts("architectures")
    quantization = config.inner("quantization_config")
    method = quantization.text("quant_method", "")
    if method in CANNOT_UNDO:
        raise UsageError(
            f"{folder} is quantized by {method}, which cannot become GGUF",
            hint="take the model that is not quantized",
        )
    is_ours = not names or any(name in FAMILIES for name in names)
    if not is_ours or method not in OURS:
        component = _component(workspace, folder, names, report)
        return _convert_upstream(component, names, folder, scratch, report)
    weights = scratch / FILES[Role.WEIGHTS]
    try:
        convert_folder(folder, weights, on_progress=_advance(report, "converting"))
    except UsageError as error:  # a tokenizer or setting that ours does not know
        ready = _ready_component(workspace)
        if ready is None or not ready.converts(names):
            raise
        report.note(f"{error.message}; llama.cpp's converter is asked instead")
        return _convert_upstream(ready, names, folder, scratch, report)
    made = [(Role.WEIGHTS, weights)]
    if config.has("vision_config") or config.has("audio_config"):
        made += _projector(workspace, names, folder, scratch, report)
    return made


def _projector(
    workspace: Workspace, names: list[str], folder: Path, scratch: Path, report: ProgressReport
) -> list[tuple[Role, Path]]:
    """Convert the projector by ours, else by llama.cpp's converter; else say what it needs."""
    from localrun.convert.projectors.convert import convert_projector, has_projector

    if has_projector(names):
        path = scratch / FILES[Role.PROJECTOR]
        try:
            convert_projector(folder, path, on_progress=_advance(report, LABELS[Role.PROJECTOR]))
        except UsageError as error:  # a setting that ours does not know
            report.note(f"{error.message}; llama.cpp's converter is asked instead")
        else:
            return [(Role.PROJECTOR, path)]
    component = _ready_component(workspace)
    if component is None:
        report.note(f"without its projector, the model takes text only; it needs: {INSTALL}")
        return []
    if not component.has_projector(names):
        report.note("llama.cpp has no projector for this model: it takes text only")
        return []
    return _convert_upstream(component, names, folder, scratch, report, roles=(Role.PROJECTOR,))


def _convert_upstream(
    component: Component,
    names: list[str],
    folder: Path,
    scratch: Path,
    report: ProgressReport,
    *,
    roles: Sequence[Role] = (Role.WEIGHTS, Role.PROJECTOR),
) -> list[tuple[Role, Path]]:
    from localrun.convert.upstream.process import convert_upstream

    memory = host_memory()
    made = []
    for role in roles:
        is_projector = role is Role.PROJECTOR
        if is_projector and not component.has_projector(names):
            continue
        path = scratch / FILES[role]
        convert_upstream(
            component,
            folder,
            path,
            projector=is_projector,
            memory_bytes=memory.available_bytes if memory is not None else 0,
            on_progress=_advance(report, LABELS[role]),
        )
        made.append((role, path))
    return made


def _ready_component(workspace: Workspace) -> Component | None:
    """Return llama.cpp's converter if it and its packages are on this machine."""
    if components.is_frozen() or components.missing_packages():
        return None
    return components.find_component(workspace.environ)


def _component(
    workspace: Workspace, folder: Path, names: list[str], report: ProgressReport
) -> Component:
    """Return llama.cpp's converter, packed from its sources if this machine has none.

    Raises:
        UsageError: its packages are missing, or it does not know the architecture.
        NetworkError: its sources cannot be downloaded.
    """
    what = f"{folder}: {', '.join(names)} is converted by llama.cpp's own converter"
    if components.is_frozen():
        raise UsageError(
            f"{what}, which a one-file build cannot run",
            hint=f"in a Python environment: {INSTALL}",
        )
    found = components.find_component(workspace.environ)
    if found is not None and not found.converts(names):
        raise _unknown(folder, names)
    missing = components.missing_packages()
    if missing:
        raise UsageError(f"{what}, which needs {', '.join(missing)}", hint=INSTALL)
    found = found or _fetched(workspace, report)
    if not found.converts(names):
        raise _unknown(folder, names)
    return found


def _unknown(folder: Path, names: list[str]) -> UsageError:
    return UsageError(
        f"{folder}: the architecture {', '.join(names)} is known neither to localrun nor to "
        f"llama.cpp's converter (of llama-cpp-python {components.VERSION})",
        hint="look for the same model as GGUF",
    )


def _fetched(workspace: Workspace, report: ProgressReport) -> Component:
    """Download llama-cpp-python's sources, keep the converter of them, and return it."""
    target = components.kept_path()
    with storage_errors(target.parent):
        make_private_folder(target.parent, own=target.parent)
        with locked(target.with_name("lock")):
            if target.is_file():  # another process was faster
                return components.open_component(target)
            report.note("llama.cpp's converter is fetched once, with its sources")
            folder = target.with_name("download")
            folder.mkdir(exist_ok=True)
            _download(workspace, folder, target, report)
            shutil.rmtree(folder, ignore_errors=True)
    return components.open_component(target)


def _download(workspace: Workspace, folder: Path, target: Path, report: ProgressReport) -> None:
    file = RemoteFile(
        name=components.SOURCES,
        digest=components.SOURCES_DIGEST,
        sources=(FileSource(url=_sources_url(workspace), name="pypi.org"),),
    )
    options = DownloadOptions(
        report=lambda done, total: report.advance(components.SOURCES, done, total)
    )
    sources = download(workspace.http, file, folder, options).path
    remove_abandoned(target)
    partial = temporary_beside(target)
    with sources.open("rb") as packed, partial.open("wb") as file_out:
        components.pack(packed, file_out)
    partial.replace(target)


def _sources_url(workspace: Workspace) -> str:
    """Return the address of the pinned sources, by their digest.

    Raises:
        NetworkError: the index does not answer, or does not have them.
    """
    index = workspace.environ.get(INDEX_VARIABLE, "").strip() or INDEX
    index = f"{index.rstrip('/')}/simple/llama-cpp-python/"
    with workspace.http.open(index, headers={"Accept": INDEX_TYPE}) as response:
        content = response.body() if response.status == OK else b"{}"
    digest = components.SOURCES_DIGEST.removeprefix("sha256:")
    try:
        for file in json.loads(content).get("files", ()):
            if file["hashes"].get("sha256") == digest:
                return str(file["url"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise NetworkError(f"{index} answers with something else than an index") from error
    raise NetworkError(f"{index} does not have {components.SOURCES}")


def _advance(report: ProgressReport, label: str) -> Callable[[int, int], None]:
    return lambda done, total: report.advance(label, done, total)
