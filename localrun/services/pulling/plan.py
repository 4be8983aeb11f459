"""Pull plan: a name resolved to files of a source, before any download.

Every source yields the same kind of plan: files with their roles, or the manifest of a registry.
``notes`` holds the choices that were made for the user.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from localrun.errors import LocalrunError, ModelNotFoundError, NetworkError, UsageError
from localrun.names.parse import parse_name
from localrun.names.ref import (
    DEFAULT_TAG,
    HUGGINGFACE_HOST,
    MODELSCOPE_HOST,
    ModelRef,
    ModelSource,
)
from localrun.registry.http import OfflineError
from localrun.registry.origins import split_login
from localrun.registry.quantization import choose, companions, quantization_of, shards_of
from localrun.registry.remote import FileSource, RemoteFile
from localrun.registry.transfer.range_reader import ask
from localrun.services.pulling.mirrors import Mirrors, no_mirrors, repository_of
from localrun.store.manifest import Role, parse_manifest
from localrun.store.refs import PLAIN_HTTP
from localrun.store.store import Provenance, embedded_models

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.registry.catalog import CatalogEntry
    from localrun.registry.remote import Repository
    from localrun.services.workspace import Workspace
    from localrun.store.refs import StoredRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """File to fetch, and how to find its mirrors."""

    file: RemoteFile
    role: Role
    find_mirrors: Callable[[], Sequence[FileSource]] = field(default=no_mirrors, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullPlan:
    """Model to be pulled."""

    ref: ModelRef
    files: tuple[PlannedFile, ...]
    provenance: Provenance
    manifest: bytes | None = None  # of a registry; else it is made from the files
    pinned: str | None = None  # digest that the manifest must have
    notes: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int | None:
        """Return the size of all files, or None if a source does not report one."""
        sizes = [planned.file.size_bytes for planned in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


def make_plan(workspace: Workspace, ref: ModelRef, *, is_insecure: bool = False) -> PullPlan:
    """Resolve a name at its source; uses the network, writes nothing.

    Raises:
        ModelNotFoundError: the model does not exist; the hint has similar names.
        QuantizationNotFoundError: the source has other quantizations, which are listed.
        NetworkError: the source does not answer.
    """
    source = ref.source
    if source is ModelSource.LOCAL:
        return _from_catalog(workspace, ref)
    if source in {ModelSource.HUGGINGFACE, ModelSource.MODELSCOPE}:
        return _from_hub(workspace, ref, ref)
    if source is ModelSource.REGISTRY:
        return _from_registry(workspace, ref, is_insecure=is_insecure)
    if source is ModelSource.URL:
        return _from_url(workspace, ref)
    raise UsageError(f"{ref} is a file of this machine", hint=f"localrun import {ref}")


def plan_of_origin(workspace: Workspace, stored: StoredRef) -> PullPlan:
    """Resolve the origin of a reference.

    Raises:
        ModelNotFoundError, NetworkError: as `make_plan`.
        ModelNameError: the reference has no origin.
    """
    origin = parse_name(stored.origin or "")
    return make_plan(workspace, origin, is_insecure=stored.is_plain_http)


def is_elsewhere(workspace: Workspace, ref: ModelRef) -> bool:
    """Return whether a name can be pulled, by itself or by the catalog."""
    if ref.source is ModelSource.LOCAL:
        return _entry(workspace, ref)[0] is not None
    return ref.source is not ModelSource.FILE


def _from_catalog(workspace: Workspace, ref: ModelRef) -> PullPlan:
    """Resolve ``qwen3:0.6b`` or ``qwen3:0.6b-q8_0`` by the catalog, else by its origin."""
    entry, quantization = _entry(workspace, ref)
    if entry is None:
        return _again(workspace, ref)
    tag = quantization or entry.quantization
    at_hub = _hub_ref(HUGGINGFACE_HOST, entry.huggingface, tag)
    try:
        plan = _from_hub(workspace, ref, at_hub, mirror=entry.modelscope)
    except OfflineError:
        raise
    except (NetworkError, ModelNotFoundError) as error:
        if entry.modelscope is None:
            raise
        at_hub = _hub_ref(MODELSCOPE_HOST, entry.modelscope, tag)
        plan = _instead(workspace, ref, at_hub, error)
    if ref.tag == DEFAULT_TAG or quantization is None:
        full = f"{entry.name}:{entry.tag}"
        also = f"{full}, " if ref.tag == DEFAULT_TAG else ""
        subject = ref.model if also else full
        note = f"{subject} means {also}{tag} of {at_hub.host}/{at_hub.repo}"
        plan = replace(plan, notes=(note, *plan.notes))
    return plan


def _instead(
    workspace: Workspace, ref: ModelRef, at_hub: ModelRef, problem: LocalrunError
) -> PullPlan:
    """Resolve a name at ModelScope after Hugging Face failed."""
    try:
        plan = _from_hub(workspace, ref, at_hub)
    except (NetworkError, ModelNotFoundError) as error:
        both = "; ".join(dict.fromkeys((problem.message, error.message)))
        are_missing = all(isinstance(each, ModelNotFoundError) for each in (problem, error))
        kind = ModelNotFoundError if are_missing else NetworkError
        raise kind(both, hint=problem.hint or "check the network") from error
    return replace(plan, notes=(*plan.notes, f"{problem.message}; ModelScope is used instead"))


def _entry(workspace: Workspace, ref: ModelRef) -> tuple[CatalogEntry | None, str | None]:
    """Return the catalog entry of a name, and the quantization at the end of its tag."""
    if ref.namespace is not None:
        return None, None
    entry = workspace.catalog.find(ref.model, ref.tag)
    if entry is not None:
        return entry, None
    tag, dash, end = ref.tag.rpartition("-")
    quantization = quantization_of(f"{end}.gguf") if dash else None
    return (workspace.catalog.find(ref.model, tag), quantization) if quantization else (None, None)


def _again(workspace: Workspace, ref: ModelRef) -> PullPlan:
    """Resolve a name of this machine by the origin it was pulled from."""
    stored = workspace.store.find(ref)
    if stored is not None and stored.ref.origin is not None:
        plan = plan_of_origin(workspace, stored.ref)
        return replace(plan, ref=ref)
    if stored is not None:
        raise UsageError(
            f"{ref} was created on this machine and has no origin to pull from",
            hint=f"localrun run {ref}",
        )
    if str(ref).lower() in embedded_models():
        raise UsageError(f"{ref} comes with localrun", hint=f"localrun run {ref.model}")
    near = workspace.catalog.near(str(ref))
    hint = f"localrun pull {near[0]}" if near else f"localrun search {ref.model}"
    if ref.namespace is not None:
        hint = f"localrun pull hf.co/{ref.repo}   or   localrun pull ollama:{ref.repo}"
    others = f"; near names: {', '.join(near)}" if near else ""
    raise ModelNotFoundError(f"no model {ref} is known{others}", hint=hint)


def _hub_ref(host: str, repo: str, tag: str) -> ModelRef:
    namespace, _, model = repo.partition("/")
    return ModelRef(host=host, namespace=namespace, model=model, tag=tag)


def _from_hub(
    workspace: Workspace, ref: ModelRef, at_hub: ModelRef, *, mirror: str | None = None
) -> PullPlan:
    """Choose files of a hub's repository."""
    repository = repository_of(workspace, at_hub)
    notes: tuple[str, ...] = ()
    choice = None
    if at_hub.file is not None:
        files = _named_file(repository, at_hub.file)
    else:
        chosen = choose(repository, at_hub.tag)
        files, choice = chosen.variant.files, chosen.variant.quantization
        if not chosen.is_stated:
            other = f"{at_hub.host}/{at_hub.repo}:TAG   chooses another"
            notes = (f"{repository.name}: {choice} was chosen; {other}",)
    mirrors = Mirrors(workspace, at_hub, mirror)
    planned = [PlannedFile(file=file, role=Role.WEIGHTS) for file in files]
    extras = companions(repository)
    notes += tuple(
        f"{head.name} beside it drafts tokens for it: "
        f"localrun pull {at_hub.host}/{at_hub.repo}/{head.name}   then run --draft names it"
        for head in extras.heads[:1]
        if at_hub.file is None
    )
    extra = [(extras.projector, Role.PROJECTOR), (extras.template, Role.TEMPLATE)]
    planned += [PlannedFile(file=file, role=role) for file, role in extra if file is not None]
    planned += [PlannedFile(file=file, role=Role.LICENSE) for file in extras.licences[:1]]
    return PullPlan(
        ref=ref,
        files=tuple(replace(each, find_mirrors=mirrors.finder(each.file)) for each in planned),
        provenance=Provenance(
            origin=str(replace(at_hub, tag=choice or at_hub.tag, digest=None)),
            choice=choice,
            revision=repository.revision,
        ),
        pinned=ref.digest,
        notes=notes,
    )


def _named_file(repository: Repository, name: str) -> tuple[RemoteFile, ...]:
    """Return a file of a repository, with all shards if it is a shard."""
    if any(file.name == name for file in repository.files):
        return shards_of(repository, name)
    known = [file.name for file in repository.files if file.name.endswith(".gguf")]
    raise ModelNotFoundError(
        f"{repository.name} has no file {name}",
        hint=f"it has {', '.join(known[:8])}" if known else "it has no GGUF files",
    )


def _from_registry(workspace: Workspace, ref: ModelRef, *, is_insecure: bool) -> PullPlan:
    notes: tuple[str, ...] = ()
    if not is_insecure and workspace.store.allows_plain_http(ref):
        is_insecure = True
        notes = (f"{ref.host} is used over plain http, as --insecure has allowed for {ref}",)
    registry = workspace.registry(ref.host or "", is_insecure=is_insecure)
    pulled = registry.manifest(ref.repo, ref.digest or ref.tag)
    manifest = parse_manifest(pulled.content)
    files = tuple(
        PlannedFile(
            file=replace(
                registry.blob_file(ref.repo, blob.digest, blob.size_bytes),
                name=blob.name or f"{blob.role} {blob.digest[7:19]}",
            ),
            role=blob.role,
        )
        for blob in manifest.blobs
    )
    provenance = Provenance(
        origin=str(ref), revision=pulled.digest, scheme=PLAIN_HTTP if is_insecure else None
    )
    return PullPlan(
        ref=ref, files=files, provenance=provenance, manifest=pulled.content, notes=notes
    )


def _from_url(workspace: Workspace, ref: ModelRef) -> PullPlan:
    """Ask a URL for its version; a URL with a digest has only that version."""
    public = ref.location or ""
    parts = urlsplit(public)
    name = unquote(parts.path).rsplit("/", 1)[-1] or "model.gguf"
    url, login = split_login(ref.full_address or public)
    hint = "pull it with the complete URL; its login or signature is never stored"
    if ref.full_address is not None:
        hint = "the login or the signature in the address is wrong, or has expired"
    source = FileSource(url=url, name=parts.netloc, credential=login, refused_hint=hint)
    file = RemoteFile(name=name, digest=ref.digest, sources=(source,))
    revision = None
    if ref.digest is None:
        metadata = ask(workspace.http, source)
        file, revision = replace(file, size_bytes=metadata.size_bytes), metadata.etag
    return PullPlan(
        ref=ref,
        files=(PlannedFile(file=file, role=Role.WEIGHTS),),
        provenance=Provenance(origin=str(ref), revision=revision),
    )
