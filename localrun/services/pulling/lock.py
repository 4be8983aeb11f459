"""Lock file of a team: pins models to exact bytes.

{"format_version": 1, "models": {"qwen3:0.6b": {
"origin": "hf.co/Qwen/Qwen3-0.6B-GGUF:Q8_0", "revision": "<commit>",
"manifest": "sha256:<hex>",
"files": [{"name": "Qwen3-0.6B-Q8_0.gguf", "role": "weights",
"digest": "sha256:<hex>", "size_bytes": 639446688}]}}}
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.errors import LocalrunError, NotFoundError, UsageError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.services.pulling.pinned import Pin, PinnedFile, plan_of_pin
from localrun.services.translating.manifests import published_model
from localrun.store.layout import hex_of
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.services.pulling.plan import PullPlan
    from localrun.services.workspace import Workspace
    from localrun.store.store import Entry

FORMAT_VERSION = 1
MAX_BYTES = 16 << 20


def make_lock(workspace: Workspace, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the lock of all pulled models, or of the named ones.

    Raises:
        ModelNotFoundError: a named model does not exist.
        UsageError: a named model was created here and has no origin.
    """
    entries = [entry for entry in workspace.store.entries() if entry.ref.origin is not None]
    if names:
        wanted = {workspace.models.find_model(name).name for name in names}
        entries = [entry for entry in entries if entry.ref.name in wanted]
        local = wanted - {entry.ref.name for entry in entries}
        if local:
            raise UsageError(
                f"{', '.join(sorted(local))} was not pulled from anywhere",
                hint="localrun push   uploads a model so that others can pull it",
            )
    models = {entry.ref.name: _locked(entry) for entry in entries}
    return {"format_version": FORMAT_VERSION, "models": models}


def read_lock(file: str) -> dict[str, Any]:
    """Read a lock file.

    Raises:
        NotFoundError: the file does not exist.
        UsageError: the file is malformed, or of a later localrun.
    """
    try:
        with Path(file).open("rb") as opened:
            lock = json.loads(opened.read(MAX_BYTES))
        version, models = lock["format_version"], lock["models"]
    except FileNotFoundError as error:
        raise NotFoundError(f"no such file: {file}", hint=f"localrun lock > {file}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"not a lock file: {file}", hint="localrun lock > models.lock") from error
    if version != FORMAT_VERSION or not isinstance(models, dict):
        raise UsageError(f"{file} has format {version}", hint="update localrun")
    return models


def plans_of(
    workspace: Workspace, models: dict[str, Any], *, is_insecure: bool = False
) -> list[PullPlan]:
    """Return the pull plans of a lock; asks the origins at their locked revisions.

    Raises:
        IntegrityError: an origin no longer has a locked file.
        UsageError: an entry is malformed.
    """
    pins = [_pin(name, value) for name, value in models.items()]
    return [plan_of_pin(workspace, pin, is_insecure=is_insecure) for pin in pins]


def _locked(entry: Entry) -> dict[str, Any]:
    model = published_model(entry)
    files = [
        {
            "name": blob.name or blob.digest,
            "role": blob.role.value,
            "digest": blob.digest,
            "size_bytes": blob.size_bytes,
        }
        for blob in model.layers
    ]
    ref = entry.ref
    known = {"origin": ref.origin, "revision": ref.revision, "manifest": model.manifest}
    return {**known, "files": files}


def _pin(name: str, value: Any) -> Pin:  # noqa: ANN401 - untrusted JSON
    try:
        revision = value["revision"]
        pin = Pin(
            name=parse_name(name),
            origin=parse_name(value["origin"]),
            revision=None if revision is None else str(revision),
            manifest=value["manifest"],
            files=tuple(_pinned_file(file) for file in value["files"]),
        )
        for digest in (pin.manifest, *(file.digest for file in pin.files)):
            hex_of(digest)
    except (KeyError, TypeError, ValueError, AttributeError, LocalrunError) as error:
        raise UsageError(f"the lock of {name} is malformed", hint="localrun lock") from error
    if pin.origin.source is ModelSource.FILE or pin.name.source is ModelSource.FILE:
        raise UsageError(f"the lock of {name} names a file of this machine", hint="localrun lock")
    return pin


def _pinned_file(value: Any) -> PinnedFile:  # noqa: ANN401 - untrusted JSON
    return PinnedFile(
        name=str(value["name"]),
        role=Role(value["role"]),
        digest=value["digest"],
        size_bytes=int(value["size_bytes"]),
    )
