"""Parts of a new model: the files and the base recipe that its FROM lines name.

FROM guide                    a model of this machine, or pulled
FROM ./model.gguf             weights or a projector, depending on its header
FROM ./folder                 its GGUF model, or a safetensors model to convert
FROM sha256:<hex>             a blob of the store, as `show --modelfile` writes it
FROM remote+https://...       an engine that answers in place of weights, see remote/source.py
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from localrun.convert.folder import find, read_bytes, read_text
from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.gguf.data import read_whole
from localrun.gguf.role import gguf_role
from localrun.names.parse import local_path, parse_name
from localrun.names.ref import ModelSource
from localrun.remote.source import is_remote_source, parse_sources
from localrun.services.pulling.pull import pull_model
from localrun.services.recipes import EMPTY, StoredRecipe, read_recipe
from localrun.services.remotes.stored import remote_of
from localrun.store.adopt import AdoptMode, adopt
from localrun.store.foreign.files import find_gguf
from localrun.store.manifest import Role
from localrun.store.store import embedded_models, embedded_projectors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.names.ref import ModelRef
    from localrun.remote.model import RemoteModel
    from localrun.services.progress import ProgressReport
    from localrun.services.workspace import Workspace
    from localrun.store.foreign.model import ForeignFile
    from localrun.store.locks import Lease
    from localrun.store.store import Entry

BLOB = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
PATH_STARTS = ("/", "./", "../", "~", ".\\", "..\\")
CONFIG_FILE = "config.json"  # part of every Hugging Face model
FILE_ROLES = (Role.WEIGHTS, Role.PROJECTOR, Role.ADAPTER, Role.DRAFT)


@dataclass(frozen=True, slots=True)
class ModelPart:
    """File of the model in the store."""

    digest: str
    size_bytes: int


@dataclass(slots=True, kw_only=True)
class ModelParts:
    """Parts that FROM lines have named so far."""

    files: dict[Role, list[ModelPart]] = field(default_factory=lambda: {r: [] for r in FILE_ROLES})
    recipe: StoredRecipe = EMPTY  # of the base
    blobs: dict[str, Role] = field(default_factory=dict)  # blobs that FROM names by digest
    base: Entry | None = None  # the one model of the store that FROM names
    origin: str | None = None  # its name
    adopted_files: list[Path] = field(default_factory=list)  # the user's files that were added
    remote: RemoteModel | None = None  # in place of weights

    @property
    def weights(self) -> list[ModelPart]:
        """Return the shards of the weights, one for most models."""
        return self.files[Role.WEIGHTS]


class PartCollector:
    """Collector of the files that a recipe names, as blobs of the store."""

    def __init__(
        self,
        workspace: Workspace,
        lease: Lease,
        report: ProgressReport,
        *,
        folder: Path,
        adopt_mode: AdoptMode = AdoptMode.AUTO,
    ) -> None:
        self.workspace = workspace
        self.lease = lease
        self.report = report
        self.folder = folder
        self.adopt_mode = adopt_mode

    def gather_draft(self, source: str) -> list[ModelPart]:
        """Return the weights of the draft model that DRAFT names.

        Raises:
            UsageError: it names no weights.
            NotFoundError: it names nothing here or at a source.
            IntegrityError: a file is damaged, or has the wrong format.
        """
        parts = ModelParts()
        path = self.folder / local_path(source)
        if not BLOB.fullmatch(source) and is_path(source, self.folder) and not path.exists():
            hint = "DRAFT qwen3:0.6b   names a model instead"
            raise NotFoundError(f"DRAFT {source}: no such file: {path}", hint=hint)
        if not is_remote_source(source):
            self._add(parts, source)
        if parts.weights:
            return parts.weights
        kind = "a projector" if parts.files[Role.PROJECTOR] else "a remote model"
        raise UsageError(f"DRAFT {source} is {kind}, and cannot draft tokens")

    def gather(self, sources: tuple[str, ...]) -> ModelParts:
        """Return the parts that all FROM lines name.

        Raises:
            UsageError: the lines name no weights, or more than one model.
            NotFoundError: a line names nothing here or at a source.
            IntegrityError: a file is damaged, or has the wrong format.
        """
        parts = ModelParts()
        if any(map(is_remote_source, sources)):
            parts.remote = parse_sources(sources, self.folder)
            return parts
        for source in sources:
            self._add(parts, source)
        if not parts.weights and parts.remote is None:
            raise UsageError(
                "FROM names no weights", hint="add FROM guide   or   FROM ./model.gguf"
            )
        return parts

    def take(self, parts: ModelParts, path: Path) -> ModelPart:
        """Add a GGUF file of the user to the store.

        Raises:
            IntegrityError: the file is damaged or truncated, checked before it is hashed.
        """
        read_whole(path)
        size = path.stat().st_size
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.report.advance(path.name, done, size)

        adopted = adopt(self.workspace.store, path, self.lease, advance, mode=self.adopt_mode)
        parts.adopted_files.append(path)
        return ModelPart(adopted.digest, adopted.size_bytes)

    def keep(self, made: Path) -> ModelPart:
        """Move a file that this program made into the store."""
        adopted = adopt(self.workspace.store, made, self.lease, mode=AdoptMode.MOVE)
        return ModelPart(adopted.digest, adopted.size_bytes)

    def _add(self, parts: ModelParts, source: str) -> None:
        if BLOB.fullmatch(source):
            self._add_blob(parts, source)
            return
        if not is_path(source, self.folder):
            self._add_model(parts, parse_name(source))
            return
        path = self.folder / local_path(source)
        if path.exists():
            self._add_path(parts, path)
        else:
            raise NotFoundError(
                f"FROM {source}: no such file: {path}", hint="FROM guide   names a model instead"
            )

    def _add_blob(self, parts: ModelParts, digest: str) -> None:
        path = self.workspace.store.blobs.path(digest)
        self.lease.add([digest])
        role = parts.blobs[digest] = parts.blobs.get(digest) or Role(gguf_role(path))
        parts.files[role].append(ModelPart(digest, path.stat().st_size))

    def _add_path(self, parts: ModelParts, path: Path) -> None:
        """Add a GGUF file with the shards of its set, or all files of a folder's model."""
        if path.is_file() and gguf_role(path) == "projector":
            parts.files[Role.PROJECTOR].append(self.take(parts, path))
            return
        if (path / CONFIG_FILE).is_file() and not any(path.glob("*.gguf")):
            self._add_converted(parts, path)
            return
        models = find_gguf(path, gguf_role)
        if len(models) != 1:
            names = ", ".join(model.name for model in models)
            raise UsageError(f"{path} has {len(models)} models: {names}", hint="name one file")
        self._refuse_second(parts, str(path))
        refuse_outside(path, models[0].files)
        self.report.begin(models[0].size_bytes, len(models[0].files))
        for file in models[0].files:
            if Role(file.role) in FILE_ROLES:
                parts.files[Role(file.role)].append(self.take(parts, file.path))
            elif file.role == "template":
                parts.recipe = replace(parts.recipe, template=read_text(file.path))
            elif file.role == "license":
                text = read_bytes(file.path).decode(errors="replace")
                parts.recipe = replace(parts.recipe, licenses=(*parts.recipe.licenses, text))

    def _add_converted(self, parts: ModelParts, path: Path) -> None:
        """Convert a safetensors folder in Hugging Face's layout, and add the result."""
        from localrun.services.creating.converting import convert  # few recipes need it

        self._refuse_second(parts, str(path))
        with self.lease.folder() as folder:
            for role, made in convert(self.workspace, path, folder, self.report):
                parts.files[role].append(self.keep(made))

    def _add_model(self, parts: ModelParts, ref: ModelRef) -> None:
        """Add all files of a model of this machine; pull a missing one."""
        self._refuse_second(parts, str(ref))
        entry = self._leased(ref)
        embedded = embedded_models().get(str(ref).lower())
        if entry is None and embedded is not None:
            parts.weights.append(self._embedded(embedded))
            projector = embedded_projectors().get(str(ref).lower())
            if projector is not None:
                parts.files[Role.PROJECTOR].append(self._embedded(projector))
        else:
            self._add_entry(parts, entry or self._pulled(ref))
        parts.origin = str(ref)

    def _embedded(self, path: Path) -> ModelPart:
        """Return a file of the package as a blob; one that is unchanged and stored is not read."""
        digest, size_bytes = self.workspace.models.file_digest(path), path.stat().st_size
        self.lease.add([digest])  # first: then no prune removes what is found
        if self.workspace.store.blobs.find(digest, size_bytes) is not None:
            return ModelPart(digest, size_bytes)
        adopted = adopt(self.workspace.store, path, self.lease, mode=AdoptMode.AUTO)
        return ModelPart(adopted.digest, adopted.size_bytes)

    def _add_entry(self, parts: ModelParts, entry: Entry) -> None:
        self.workspace.store.check_whole(entry)
        for role in FILE_ROLES:
            layers = entry.manifest.with_role(role)
            parts.files[role] += [ModelPart(layer.digest, layer.size_bytes) for layer in layers]
        parts.recipe = read_recipe(entry.manifest, self.workspace.store.blobs)
        parts.remote = remote_of(entry.manifest, self.workspace.store.blobs)
        parts.base = entry

    def _leased(self, ref: ModelRef) -> Entry | None:
        """Return the entry of a name with all its blobs leased."""
        store = self.workspace.store
        entry, before = store.find(ref), None
        while entry is not None and entry != before:
            self.lease.add([entry.ref.manifest, *(blob.digest for blob in entry.manifest.blobs)])
            entry, before = store.find(ref), entry
        return entry

    def _pulled(self, ref: ModelRef) -> Entry:
        if ref.source is ModelSource.LOCAL and ref.tag == "latest":
            self.report.note(f"{ref} is not here: pulling it")
        try:
            pull_model(self.workspace, ref, report=self.report)
        except UsageError:
            entry = self._leased(ref)
            if entry is not None:  # another process has just created it
                return entry
            raise
        entry = self._leased(ref)
        if entry is None:
            raise IntegrityError(f"{ref} was pulled and is missing", hint=f"localrun pull {ref}")
        return entry

    def _refuse_second(self, parts: ModelParts, name: str) -> None:
        if parts.weights or parts.remote is not None:
            raise UsageError(f"FROM {name} is a second model; a recipe may have only one")


def refuse_outside(path: Path, files: Sequence[ForeignFile]) -> None:
    """Refuse links that lead out of a folder, or from a shard to another folder.

    The blobs of a Hugging Face cache belong to the folder. A file that FROM names may itself be a
    link; then its shards may be where it points.

    Raises:
        IntegrityError: a link leads outside.
    """
    named = None if path.is_dir() else path.resolve()
    for file in files:
        if named is None or file.path.parent != named.parent:
            find(path if named is None else path.parent, file.name)


def is_path(text: str, folder: Path) -> bool:
    """Return whether FROM means a file or folder, by its form or because it exists."""
    if looks_like_path(text):
        return True
    return os.path.exists(folder / text)  # noqa: PTH110 - False if too long for a path


def looks_like_path(text: str) -> bool:
    """Return whether a text has the form of a path, whatever is on the disk."""
    return not text or text.startswith(PATH_STARTS) or text.endswith((".gguf", ".safetensors"))
