"""Jobs of a server in child processes: pull, push, create, `inspection`, `sound_pieces`.

A child process, because it hashes, converts and quantizes: none of that may slow down or end the
server's answers, and a client that disconnects ends it at once. The order is one line of JSON; the
job writes JSON too, one object a line (``write`` receives each):

    {"note": "..."}      of a draft model with {"draft": {"name", "size_bytes", "is_here"}}
    {"begin": bytes or null}
    {"advance": name, "done": bytes, "total": bytes or null, "digest": "sha256:..." or null}
    {"result": {...}}  |  {"failed": {"code", "message", "hint"}}      the last one
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from localrun.disk import storage_errors
from localrun.errors import LocalrunError, StorageError, UsageError
from localrun.modelfile.parse import parse_modelfile
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.registry.http import OfflineError
from localrun.services.creating.create import CreateOptions, create_model
from localrun.services.creating.parts import BLOB, looks_like_path
from localrun.services.creating.uploads import ADAPTER_FOLDER, DRAFT_FOLDER, FILES_FOLDER
from localrun.services.drafting.offer import offer_draft
from localrun.services.inspection import INSPECTIONS
from localrun.services.progress import JobReport
from localrun.services.pulling.offline import complete_here, embedded_here
from localrun.services.pulling.plan import make_plan
from localrun.services.pulling.pull import PullOptions, run_plan
from localrun.services.push import push_model
from localrun.services.sound_pieces import cut_sound
from localrun.store.blobs import file_digest
from localrun.supervisor.devices import ChosenDevices

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.modelfile.recipe import Recipe
    from localrun.services.workspace import Workspace

    Write = Callable[[dict[str, Any]], None]


def run_job(workspace: Workspace, order: Mapping[str, Any], write: Write) -> bool:
    """Run an order, write its events, and return whether it succeeded; blocks.

    Clients of a server must not explore its network: see `localrun.registry.public`.
    """
    workspace = workspace.for_clients()
    kinds = {"pull": _pull, "push": _push, "create": _create}
    kind = order["kind"]
    try:
        if kind == "cut sound":
            result = cut_sound(order, write, workspace.settings.loads.ffmpeg)
        elif kind in kinds:
            result = kinds[kind](workspace, order, JobReport(write))
        else:
            result = INSPECTIONS[kind](workspace, order)
    except LocalrunError as error:
        failed = {"code": error.code, "message": error.message, "hint": error.hint}
        write({"failed": failed})
        return False
    write({"result": result})
    return True


def _pull(workspace: Workspace, order: Mapping[str, Any], report: JobReport) -> dict[str, Any]:
    ref = parse_name(order["name"])
    if (embedded := embedded_here(workspace, ref)) is not None:
        return asdict(embedded)
    try:
        plan = make_plan(workspace, ref, is_insecure=order["is_insecure"])
    except OfflineError:
        if (kept := complete_here(workspace.store, ref)) is None:
            raise
        return asdict(kept)
    report.digests = {planned.file.name: planned.file.digest for planned in plan.files}
    options = PullOptions(is_insecure=order["is_insecure"])
    pulled = run_plan(workspace, plan, options, report)
    _offer_draft(workspace, pulled.name, report)
    return asdict(pulled)


def _offer_draft(workspace: Workspace, name: str, report: JobReport) -> None:
    """Report the draft model of a pulled model, if the catalog knows one."""
    settings = workspace.settings
    devices = ChosenDevices(settings.device, os.environ, most_bytes=settings.memory_bytes)
    offer = offer_draft(workspace, name, devices)
    if offer is not None:
        report.write({"note": offer.text, "draft": asdict(offer)})


def _push(workspace: Workspace, order: Mapping[str, Any], report: JobReport) -> dict[str, Any]:
    ref = parse_name(order["name"])
    entry = workspace.store.find(ref)
    blobs = entry.manifest.blobs if entry else []
    report.digests = {blob.name: blob.digest for blob in blobs if blob.name}
    return asdict(push_model(workspace, ref, ref, report, is_insecure=order["is_insecure"]))


def _create(workspace: Workspace, order: Mapping[str, Any], report: JobReport) -> dict[str, Any]:
    recipe = parse_modelfile(order["modelfile"].encode())
    options = CreateOptions(
        quantize=order["quantize"],
        draft_quantize=order["draft_quantize"],
        facts=order["facts"],
    )
    with workspace.store.lease() as lease, lease.folder() as folder:
        _lay_out(workspace, folder / FILES_FOLDER, order["files"])
        _lay_out(workspace, folder / ADAPTER_FOLDER, order["adapters"])
        _lay_out(workspace, folder / DRAFT_FOLDER, order["drafts"])
        _refuse_paths(recipe)
        created = create_model(
            workspace,
            parse_name(order["name"]),
            recipe,
            folder=folder,
            options=options,
            report=report,
        )
    return asdict(created)


def _lay_out(workspace: Workspace, folder: Path, files: Mapping[str, str]) -> None:
    """Link blobs under their file names into a folder, for readers that need names.

    Symbolic links would not do: the readers refuse links that lead out of their folder.
    """
    for name, digest in files.items():
        path, blob = folder / _inside(name), workspace.store.blobs.path(digest)
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.hardlink_to(blob)
            except OSError:  # another disk, or a file system without links
                _copy_checked(blob, path, digest)


def _copy_checked(blob: Path, path: Path, digest: str) -> None:
    """Copy a blob and hash the copy: the kernel copies, so nothing was hashed on the way."""
    shutil.copyfile(blob, path)
    if file_digest(path) != digest:
        raise StorageError(f"the copy of {blob} at {path} has another digest", hint="try again")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise UsageError(f"not a valid file name: {name!r}")
    return path


def _refuse_paths(recipe: Recipe) -> None:
    """Refuse paths of this machine: clients of a server must not read its user's files.

    Only the text decides, so that the error reveals nothing about the disk.
    """
    drafts = (recipe.draft,) if recipe.draft else ()
    adapters = tuple(use.path for use in recipe.adapters)
    for named in (*recipe.sources, *drafts, *adapters):
        if BLOB.fullmatch(named) or named in {FILES_FOLDER, ADAPTER_FOLDER, DRAFT_FOLDER}:
            continue
        if (
            named in adapters
            or looks_like_path(named)
            or parse_name(named).source is ModelSource.FILE
        ):
            raise UsageError(
                f"{named} is a path; a server reads no files for its clients",
                hint="upload the file to /api/blobs and use its digest, or run localrun create",
            )
