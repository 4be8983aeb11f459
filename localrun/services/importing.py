"""Import of models that are on this machine: files, folders, other tools' stores."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.disk import storage_errors
from localrun.errors import ModelNotFoundError, NotFoundError, UsageError
from localrun.gguf.header import read_header
from localrun.gguf.role import gguf_role
from localrun.names.parse import local_path, parse_name
from localrun.names.ref import DEFAULT_TAG, HUGGINGFACE_HOST, ModelRef, ModelSource
from localrun.services.creating.manifests import check_whole, layer_of, make_manifest
from localrun.services.translation_notes import old_layout_note
from localrun.store.adopt import Adopted, AdoptMethod, adopt
from localrun.store.archive_names import NamedModel, check_names
from localrun.store.blobs import digest_of
from localrun.store.foreign.files import find_gguf
from localrun.store.foreign.folders import ForeignTool, find_foreign_models
from localrun.store.manifest import MAX_BYTES, Role, parse_manifest
from localrun.store.store import Provenance

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.foreign.model import ForeignModel
    from localrun.store.locks import Lease

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """Model that was imported under a name."""

    name: str
    manifest: str  # digest
    size_bytes: int
    copied_bytes: int  # new disk space; links and clones take none


def import_path(
    workspace: Workspace,
    path: Path,
    name: ModelRef | None,
    report: ProgressReport,
    *,
    is_forced: bool = False,
) -> list[Imported]:
    """Import a GGUF file, a split set by its first shard, or every model of a folder.

    With ``is_forced`` it replaces a model of the same name.

    Raises:
        NameConflictError: as `import_model`.
        NotFoundError: the path does not exist, or has no model.
        IntegrityError: the file is not GGUF, or shards are missing.
    """
    models = find_gguf(local_path(str(path)), gguf_role)
    if not models:
        raise NotFoundError(f"{path} has no GGUF model", hint="localrun import FILE.gguf")
    if name is not None and len(models) > 1:
        names = ", ".join(model.name for model in models)
        raise NotFoundError(
            f"{path} has {len(models)} models: {names}", hint="import one by its file"
        )
    return [
        import_model(workspace, model, name or local_name(model), report, is_forced=is_forced)
        for model in models
    ]


def foreign_models(workspace: Workspace, tool: ForeignTool, name: str | None) -> list[ForeignModel]:
    """Return another tool's models, or the named one.

    Raises:
        ModelNotFoundError: the tool lacks the model; the hint lists those it has.
    """
    models = find_foreign_models(tool, workspace.environ, workspace.home)
    if name is None:
        return models
    chosen = [model for model in models if _is_named(model, name)]
    if not chosen:
        known = ", ".join(model.name for model in models[:8]) or "no models"
        raise ModelNotFoundError(
            f"{tool.value} has no {name} on this machine; it has {known}",
            hint=f"localrun import --from {tool.value} --list",
        )
    return chosen


def import_model(
    workspace: Workspace,
    model: ForeignModel,
    ref: ModelRef,
    report: ProgressReport,
    *,
    is_forced: bool = False,
) -> Imported:
    """Import another tool's model under a name; its files stay unchanged.

    Raises:
        UsageError: ``ref`` cannot be a name in the store.
        NameConflictError: ``ref`` is another model, and ``is_forced`` is False.
        IntegrityError: a file is damaged or truncated.
        StorageError: a file cannot be read, or the store cannot be written.
    """
    check_target(ref)
    store = workspace.store
    for file in model.files:  # reports truncated files before hashing them
        check_whole(Role(file.role), file.name, file.path)
    report.begin(model.size_bytes, len(model.files))
    with store.lease() as lease:
        adopted = [
            _adopt(workspace, file.path, file.name, file.size_bytes, lease, report)
            for file in model.files
        ]
        if model.manifest is not None:
            with storage_errors(model.manifest):
                manifest = model.manifest.read_bytes()[: MAX_BYTES + 1]
            adopted.append(_adopt_config(workspace, model.manifest, manifest, lease, report))
        else:
            layers = [
                layer_of(Role(file.role), file.name, blob.path, blob.digest)
                for file, blob in zip(model.files, adopted, strict=True)
            ]
            manifest = make_manifest(store, layers, lease)
        if not is_forced:
            check_names(store, [NamedModel(ref, digest_of(manifest))], ref)
        provenance = Provenance(origin=_origin(model), revision=model.revision)
        stored = store.tag(ref, manifest, lease, provenance)
    shards = [file.path for file in model.files if file.role == "weights"]
    if len(shards) == 1 and (note := old_layout_note(read_header(shards[0]), str(ref))):
        report.note(note)
    return Imported(
        name=stored.name,
        manifest=stored.manifest,
        size_bytes=sum(blob.size_bytes for blob in adopted),
        copied_bytes=sum(blob.size_bytes for blob in adopted if blob.method is AdoptMethod.COPIED),
    )


def check_target(target: ModelRef) -> None:
    """Check that a reference can be a name in the store.

    Raises:
        UsageError: the reference is a URL or a file, or has a digest.
    """
    if target.source in {ModelSource.URL, ModelSource.FILE} or target.digest is not None:
        raise UsageError(f"not a valid new name: {target}", hint="names look like mine or mine:2")


def local_name(model: ForeignModel) -> ModelRef:
    """Return the name under which a model of another tool is imported."""
    if model.tool == ForeignTool.HUGGINGFACE.value and model.name.count("/") == 1:
        return parse_name(f"{HUGGINGFACE_HOST}/{model.name}")
    if model.tool == ForeignTool.OLLAMA.value:
        return parse_name(model.name)
    *folders, last = model.name.split("/")
    name, _, tag = last.removesuffix(".gguf").partition(":")
    ref = ModelRef(
        namespace=_clean(folders[-1]).replace(".", "-") if folders else None,  # else a host
        model=_clean(name),
        tag=_clean(tag) if tag else DEFAULT_TAG,
    )
    return parse_name(str(ref))


def _origin(model: ForeignModel) -> str | None:
    """Return the source of the bytes if the tool knows it, which may differ from the name."""
    if model.tool != ForeignTool.HUGGINGFACE.value or model.revision is None:
        return None
    ref = local_name(model)
    return str(ref) if ref.host == HUGGINGFACE_HOST else None


def _adopt(
    workspace: Workspace, path: Path, name: str, size: int, lease: Lease, report: ProgressReport
) -> Adopted:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report.advance(name, done, size)

    return adopt(workspace.store, path, lease, advance)


def _adopt_config(
    workspace: Workspace, path: Path, manifest: bytes, lease: Lease, report: ProgressReport
) -> Adopted:
    """Adopt the config of Ollama's manifest, which is among its other blobs."""
    config = parse_manifest(manifest).config
    folder = next(parent for parent in path.parents if parent.name == "manifests").parent / "blobs"
    names = (config.digest.replace(":", "-"), config.digest)
    config_file = next((folder / name for name in names if (folder / name).is_file()), None)
    if config_file is None:
        raise NotFoundError(f"{path} names a config that does not exist: {config.digest}")
    return _adopt(workspace, config_file, "config", config.size_bytes, lease, report)


def _is_named(model: ForeignModel, name: str) -> bool:
    wanted, has = name.lower(), model.name.lower()
    return has in {wanted, f"{wanted}:latest"} or has.rpartition(":")[0] == wanted


def _clean(text: str) -> str:
    """Return a text with only the characters that a name may have."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")[:LONGEST_NAME] or "model"
