"""Import of models that are on this machine: files, folders, other tools' stores."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.disk import storage_errors
from localrun.errors import ModelNotFoundError, NotFoundError
from localrun.gguf.role import gguf_role
from localrun.names.parse import local_path, parse_name
from localrun.names.ref import DEFAULT_TAG, HUGGINGFACE_HOST, ModelRef
from localrun.services.creating.manifests import check_whole, layer_of, make_manifest
from localrun.services.naming import check_target
from localrun.services.translating.blobs import PublishedBlob, Translator
from localrun.services.translating.manifests import translated_manifest
from localrun.store.adopt import Adopted, AdoptMethod, adopt
from localrun.store.archive_names import NamedModel, check_names
from localrun.store.blobs import digest_of, file_digest
from localrun.store.foreign.files import find_gguf
from localrun.store.foreign.folders import ForeignTool, find_foreign_models
from localrun.store.manifest import MAX_BYTES, Role, parse_manifest
from localrun.store.store import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.foreign.model import ForeignFile, ForeignModel
    from localrun.store.locks import Lease
    from localrun.store.translations import TranslationRecord

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
        translator = Translator(workspace=workspace, ref=ref, lease=lease, report=report)
        files = [_file(translator, model, file) for file in model.files]
        sizes = [file.adopted for file in files if file.adopted is not None]
        if model.manifest is not None:
            with storage_errors(model.manifest):
                published = model.manifest.read_bytes()[: MAX_BYTES + 1]
            sizes.append(_adopt_config(workspace, model.manifest, published, lease, report))
        else:
            layers = [layer_of(file.role, file.name, file.path, file.digest) for file in files]
            published = make_manifest(store, layers, lease, _facts(files))
        manifest = _translated(published, files)
        if not is_forced:
            check_names(store, [NamedModel(ref, digest_of(manifest))], ref)
        provenance = Provenance(origin=_origin(model), revision=model.revision)
        stored = store.tag(ref, manifest, lease, provenance)
    copied_bytes = sum(blob.size_bytes for blob in sizes if blob.method is AdoptMethod.COPIED)
    return Imported(
        name=stored.name,
        manifest=stored.manifest,
        size_bytes=sum(blob.size_bytes for blob in sizes) + sum(map(_translated_bytes, files)),
        copied_bytes=copied_bytes + translator.copied_bytes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportedFile:
    """File of a model: a blob now, or translated into others."""

    role: Role
    name: str
    path: Path
    digest: str
    adopted: Adopted | None = None
    record: TranslationRecord | None = None


def _file(translator: Translator, model: ForeignModel, file: ForeignFile) -> _ImportedFile:
    """Adopt a file, or translate it: then the file itself is not needed."""
    workspace, lease, report = translator.workspace, translator.lease, translator.report
    role = Role(file.role)
    is_whole = role is not Role.WEIGHTS or sum(f.role == file.role for f in model.files) == 1
    blob = PublishedBlob(path=file.path, role=role, digest="")
    if not is_whole or not blob.needs_translation:
        adopted = _adopt(workspace, file.path, file.name, file.size_bytes, lease, report)
        return _ImportedFile(
            role=role, name=file.name, path=adopted.path, digest=adopted.digest, adopted=adopted
        )
    digest = file_digest(file.path, _advance(report, file.name, file.size_bytes))
    record = translator.translate(replace(blob, digest=digest))
    return _ImportedFile(
        role=role,
        name=file.name,
        path=file.path,
        digest=digest,
        record=record,
    )


def _facts(files: list[_ImportedFile]) -> Mapping[str, Any] | None:
    """Return the facts of weights that were translated, None of others."""
    return next((f.record.facts for f in files if f.record and f.role is Role.WEIGHTS), None)


def _translated_bytes(file: _ImportedFile) -> int:
    return 0 if file.record is None else sum(made.size_bytes for made in file.record.files)


def _translated(published: bytes, files: list[_ImportedFile]) -> bytes:
    """Return the manifest with the translations of files."""
    records = {file.record.published: file.record for file in files if file.record is not None}
    if not records:
        return published
    return translated_manifest(published, parse_manifest(published), records).to_bytes()


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
    return adopt(workspace.store, path, lease, _advance(report, name, size))


def _advance(report: ProgressReport, name: str, size: int) -> Callable[[int], None]:
    """Return a function that reports further bytes of a file."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        report.advance(name, done, size)

    return advance


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
