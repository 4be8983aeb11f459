"""A file that pins models to the byte, for teams: who pulls by it has exactly the same.

{"format_version": 1, "models": {"qwen3:0.6b": {
"origin": "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "revision": "<commit>",
"manifest": "sha256:<hex>",
"files": [{"name": "Qwen3-0.6B-Q8_0.gguf", "role": "weights",
"digest": "sha256:<hex>", "size_bytes": 639446688}]}}}
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.names.ref import HUBS
from localrun.services.plan import Plan, make_plan
from localrun.store.layout import hex_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.plan import PlannedFile
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry

FORMAT_VERSION = 1
MOST_BYTES = 16 << 20


def make_lock(workspace: Workspace, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the lock of all pulled models, or of the named ones.

    Raises:
        ModelNotFoundError: a named model is not here.
        UsageError: a named model was made here and cannot be had from anywhere.
    """
    entries = workspace.store.entries()
    if names:
        wanted = {str(parse_name(workspace.models.find_model(name).name)) for name in names}
        entries = [entry for entry in entries if entry.ref.name in wanted]
    local = [entry.ref.name for entry in entries if entry.ref.origin is None]
    if names and local:
        raise UsageError(
            f"{', '.join(local)} was not pulled from anywhere", hint="localrun push   makes it so"
        )
    models = {entry.ref.name: _locked(entry) for entry in entries if entry.ref.origin is not None}
    return {"format_version": FORMAT_VERSION, "models": models}


def read_lock(file: str) -> dict[str, Any]:
    """Read a lock file.

    Raises:
        NotFoundError: there is none.
        UsageError: it is none, or a later localrun's.
    """
    try:
        with Path(file).open("rb") as opened:
            lock = json.loads(opened.read(MOST_BYTES))
        version, models = lock["format_version"], lock["models"]
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {file}", hint=f"localrun lock > {file}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"not a lock file: {file}", hint=f"localrun lock > {file}") from error
    if version != FORMAT_VERSION or not isinstance(models, dict):
        raise UsageError(f"{file} has format {version}", hint="update localrun")
    return models


def plans_of(workspace: Workspace, models: dict[str, Any]) -> list[Plan]:
    """Return what to pull for a lock; asks the origins at their locked revisions.

    Raises:
        IntegrityError: an origin does not have a locked file any more.
        UsageError: an entry is malformed.
    """
    return [_plan(workspace, name, value) for name, value in models.items()]


def _locked(entry: Entry) -> dict[str, Any]:
    files = [
        {
            "name": blob.name or blob.digest,
            "role": blob.role.value,
            "digest": blob.digest,
            "size_bytes": blob.size_bytes,
        }
        for blob in entry.manifest.layers
    ]
    ref = entry.ref
    known = {"origin": ref.origin, "revision": ref.revision, "manifest": ref.manifest}
    return {**known, "files": files}


def _plan(workspace: Workspace, name: str, value: Any) -> Plan:  # noqa: ANN401 - untrusted JSON
    try:
        origin, revision, manifest = value["origin"], value["revision"], value["manifest"]
        digests = {file["digest"]: file["name"] for file in value["files"]}
        sizes = {file["digest"]: int(file["size_bytes"]) for file in value["files"]}
        for digest in (manifest, *digests):
            hex_of(digest)
        ref = parse_name(origin)
    except (KeyError, TypeError, ValueError, AttributeError, IntegrityError) as error:
        raise UsageError(f"the lock of {name} is malformed") from error
    if ref.host in HUBS:
        ref = replace(ref, revision=revision or ref.revision)
    elif ref.host is not None:
        ref = replace(ref, digest=manifest)
    plan = make_plan(workspace, ref)
    files = tuple(_pinned(file, digests, sizes) for file in plan.files)
    missing = set(digests) - {file.file.digest for file in files}
    if missing and plan.manifest is None:
        lost = ", ".join(digests[digest] for digest in sorted(missing))
        raise IntegrityError(
            f"{origin} has other files than the lock of {name}: {lost}", hint="localrun lock"
        )
    return replace(plan, ref=parse_name(name), files=files, pinned=manifest, notes=())


def _pinned(planned: PlannedFile, digests: dict[str, str], sizes: dict[str, int]) -> PlannedFile:
    """Give a file the digest of the lock where its source tells none."""
    file = planned.file
    if file.digest is not None:
        return planned
    for digest, name in digests.items():
        if name == file.name.rsplit("/", 1)[-1]:
            return replace(planned, file=replace(file, digest=digest, size_bytes=sizes[digest]))
    return planned
