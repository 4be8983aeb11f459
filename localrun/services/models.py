"""Models of this machine, and their details.

Needs no server: reads the store and the headers of the files. Embedded models and models of the
stores form one list; a model of the store hides an embedded one of the same name.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import operator
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, LocalrunError, ModelNotFoundError, UsageError
from localrun.gguf.role import gguf_role
from localrun.names.adapters import split_adapters
from localrun.names.parse import local_path, parse_name
from localrun.names.ref import ModelSource
from localrun.services.capabilities import projector_capabilities, template_capabilities
from localrun.services.index.headers import HeaderFacts, HeaderIndex
from localrun.services.index.listing import ModelList
from localrun.services.index.summaries import file_summary, modified_at, with_capabilities
from localrun.services.recipes import StoredRecipe, read_recipe, to_jinja
from localrun.services.remotes.stored import refuse_adapters, stored_remote
from localrun.services.stored_model import ModelIdentity, ModelSummary, StoredModel
from localrun.store.index import StoreIndex
from localrun.store.manifest import Role
from localrun.store.store import embedded_models, embedded_projectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from localrun.names.adapters import AdapterName
    from localrun.names.ref import ModelRef
    from localrun.store.store import Entry, Store

_log = logging.getLogger(__name__)


class Models:
    """All models of this machine."""

    def __init__(
        self,
        store: Store,
        index: StoreIndex | None = None,
        *,
        takes_paths: bool = True,
        explains_paths: bool = True,
    ) -> None:
        self._store = store
        self._index = index or StoreIndex()
        self.headers = HeaderIndex(self._index)
        self._list = ModelList(store, self._index, self._stored)
        self._embedded: dict[str, tuple[HeaderFacts, ModelSummary]] = {}
        self._summaries: tuple[ModelSummary, ...] = ()
        self._takes_paths = takes_paths  # whether a path may stand for a name
        self._explains_paths = explains_paths  # whether errors say what is wrong with a path

    def list_models(self) -> Sequence[ModelSummary]:
        """Return all models by name; a damaged one is left out with a warning.

        If nothing changed, the result is the same object as before.
        """
        models = {
            name: self._embedded_summary(name, path) for name, path in embedded_models().items()
        }
        models |= {listed.summary.name: listed.summary for listed in self._list.models()}
        self._index.save()
        summaries = tuple(sorted(models.values(), key=lambda model: model.name))
        is_same = len(summaries) == len(self._summaries) and all(
            map(operator.is_, summaries, self._summaries)
        )
        if not is_same:
            self._summaries = summaries
        return self._summaries

    def names(self) -> list[str]:
        """Return the names of all models in order, also of damaged ones; reads no model."""
        return sorted({*embedded_models(), *self._list.names()})

    def blobs_of_others(self, name: str) -> set[str]:
        """Return the hex digests of the blobs of all stored models but one."""
        return self._list.blobs_of_others(name)

    def find_model(self, name: str) -> StoredModel:
        """Return the model of a name; a missing tag means ``latest``.

        Adapters may follow: ``guide+pirate@0.8`` is guide with the adapters of the model pirate, or
        of a file.

        Raises:
            ModelNameError: the text is not a name.
            ModelNotFoundError: the model does not exist; the hint says what to type.
            IntegrityError: a file of the model is missing or damaged.
            UsageError: the name is a path, and paths are not accepted.
        """
        base, extra = split_adapters(name)
        model = self._find_one(base)
        for adapter in extra:
            model = self._adapted(model, adapter)
        self._index.save()
        return model

    def identify(self, name: str) -> ModelIdentity:
        """Return the identity of the model that `find_model` would return, without its recipe.

        Raises:
            ModelNotFoundError: the model or an adapter does not exist.
            IntegrityError: the store is damaged.
        """
        base, extra = split_adapters(name)
        identity = self._identity(base)
        for adapter in extra:
            if not adapter.name.endswith(".gguf"):
                self._identity(adapter.name)
                continue
            with self._at_path(adapter.name):
                if not local_path(adapter.name).is_file():
                    raise ModelNotFoundError(f"no such adapter: {adapter.name}")
        return replace(identity, name="+".join((identity.name, *map(str, extra))))

    def file_digest(self, path: Path) -> str:
        """Return the digest of a GGUF file; an unchanged file is hashed once.

        Raises:
            IntegrityError: not a readable GGUF file.
            OSError: the file cannot be opened.
        """
        digest = self.headers.facts(path).digest
        self._index.save()
        return digest

    def _identity(self, name: str) -> ModelIdentity:
        ref = parse_name(name)
        if ref.source is ModelSource.FILE:
            with self._at_path(name):
                _local_path(ref)
            return ModelIdentity(str(ref), None)
        entry = self._store.find(ref)
        if entry is not None:
            return ModelIdentity(entry.ref.name, entry.ref.manifest)
        embedded = embedded_models().get(str(ref).lower())
        if embedded is None:
            raise self._not_found(name, ref)
        return ModelIdentity(str(ref).lower(), self.headers.facts(embedded).digest)

    def _adapted(self, model: StoredModel, adapter: AdapterName) -> StoredModel:
        """Return the model with one more adapter, and the name that includes it."""
        refuse_adapters(model)
        if adapter.name.endswith(".gguf"):
            self._refuse_path(adapter.name)
            with self._at_path(adapter.name):
                added: tuple[tuple[Path, float], ...] = ((_adapter_file(adapter.name), 1.0),)
        else:
            added = self._find_one(adapter.name).adapters
        if not added:
            raise ModelNotFoundError(
                f"{adapter.name} has no adapter", hint="add ADAPTER to its Modelfile"
            )
        scaled = tuple((path, scale * adapter.scale) for path, scale in added)
        return replace(model, name=f"{model.name}+{adapter}", adapters=model.adapters + scaled)

    def _refuse_path(self, path: str) -> None:
        if not self._takes_paths:
            raise UsageError(
                f"{path[:100]} is a path; a server that other machines can reach opens none",
                hint=f"on its machine: localrun create NAME --from {path[:100]}   names the file",
            )

    @contextlib.contextmanager
    def _at_path(self, path: str) -> Iterator[None]:
        """Hide from clients of a server why a path is no model."""
        try:
            yield
        except (LocalrunError, OSError):
            if self._explains_paths:
                raise
            raise ModelNotFoundError(
                f"{path[:100]} is no model that this server can open",
                hint="on the server's machine: localrun show PATH   shows the reason",
            ) from None

    def _find_one(self, name: str) -> StoredModel:
        ref = parse_name(name)
        if ref.source is ModelSource.FILE:
            self._refuse_path(name)
            with self._at_path(name):
                return self._described(str(ref), _local_path(ref))
        entry = self._store.find(ref)
        if entry is not None:
            try:
                return self._stored(entry)
            except (IntegrityError, FileNotFoundError) as error:
                if self._store.find(ref) == entry:
                    raise _damaged(entry, error) from error
                return self.find_model(name)  # the model was removed or replaced meanwhile
        embedded = embedded_models()
        if str(ref).lower() in embedded:
            full = str(ref).lower()
            return self._described(full, embedded[full], _embedded_projectors(full))
        raise self._not_found(name, ref)

    def _stored(self, entry: Entry) -> StoredModel:
        """Return the model of a store entry."""
        blobs = self._store.blobs

        def paths(role: Role) -> tuple[Path, ...]:
            layers = entry.manifest.with_role(role)
            return tuple(blobs.path(layer.digest, layer.size_bytes) for layer in layers)

        if entry.manifest.with_role(Role.REMOTE):
            return stored_remote(entry, blobs)
        shards = paths(Role.WEIGHTS)
        if not shards:
            raise IntegrityError(f"{entry.ref.name} has no weights", hint="localrun verify")
        recipe = read_recipe(entry.manifest, blobs)
        projectors = paths(Role.PROJECTOR)
        facts = self.headers.facts(shards[0])
        template = _jinja(recipe, entry.ref.name) or self.headers.chat_template(shards[0])
        inputs = [self.headers.facts(path).inputs for path in projectors]
        own = facts.details.capabilities
        added = (*template_capabilities(own, template), *projector_capabilities(inputs))
        return StoredModel(
            name=entry.ref.name,
            digest=entry.ref.manifest,
            size_bytes=entry.manifest.size_bytes,
            modified=modified_at(entry),
            details=with_capabilities(facts.details, added),
            shards=shards,
            chat_template=template,
            origin=entry.ref.origin or entry.ref.base,
            is_pulled=entry.ref.origin is not None,
            recipe=recipe,
            adapters=tuple(zip(paths(Role.ADAPTER), recipe.adapter_scales, strict=True)),
            draft=paths(Role.DRAFT),
            projectors=projectors,
            projector_digests=tuple(
                layer.digest for layer in entry.manifest.with_role(Role.PROJECTOR)
            ),
            weights=tuple(layer.digest for layer in entry.manifest.with_role(Role.WEIGHTS)),
            array_ends=tuple(facts.array_ends.items()),
        )

    def _described(self, name: str, path: Path, projectors: tuple[Path, ...] = ()) -> StoredModel:
        """Return the model of a GGUF file that no store has."""
        facts = self.headers.facts(path)
        encoders = list(map(self.headers.facts, projectors))
        summary = file_summary(name, facts, encoders)
        return StoredModel(
            name=name,
            digest=summary.digest,
            size_bytes=summary.size_bytes,
            modified=summary.modified,
            details=summary.details,
            shards=(path,),
            projectors=projectors,
            projector_digests=tuple(encoder.digest for encoder in encoders),
            weights=(summary.digest,),
            chat_template=self.headers.chat_template(path),
            array_ends=tuple(facts.array_ends.items()),
        )

    def _embedded_summary(self, name: str, path: Path) -> ModelSummary:
        """Return the summary of an embedded model, the same object until its file changes."""
        facts = self.headers.facts(path)
        known, summary = self._embedded.get(name, (None, None))
        if summary is None or known is not facts:
            projectors = list(map(self.headers.facts, _embedded_projectors(name)))
            summary = file_summary(name, facts, projectors)
            self._embedded[name] = (facts, summary)
        return summary

    def _not_found(self, name: str, ref: ModelRef) -> ModelNotFoundError:
        known = [model.removesuffix(":latest") for model in self.names()]
        near = difflib.get_close_matches(name.removesuffix(":latest"), known, n=1)
        hint = f"localrun run {near[0]}" if near else f"localrun pull {ref}"
        if not near and ref.source is ModelSource.LOCAL:
            hint = (
                f"localrun pull {name}   fetches it; localrun list   shows the models that are here"
            )
        return ModelNotFoundError(f"model {name!r} is not on this machine", hint=hint)


def _embedded_projectors(name: str) -> tuple[Path, ...]:
    projector = embedded_projectors().get(name)
    return () if projector is None else (projector,)


def _damaged(entry: Entry, error: IntegrityError | FileNotFoundError) -> IntegrityError:
    """Return the error of a missing or damaged file, with the model's name."""
    name = entry.ref.name
    if not isinstance(error, IntegrityError):
        return IntegrityError(
            f"{name}: a file of the model is missing", hint="localrun verify --repair"
        )
    if name in error.message:
        return error
    return IntegrityError(f"{name}: {error.message}", hint=error.hint)


def _local_path(ref: ModelRef) -> Path:
    path = local_path(ref.location or "")
    if not path.is_file():
        raise ModelNotFoundError(f"no such file: {path}", hint="localrun list")
    return path


def _adapter_file(name: str) -> Path:
    """Return the path of an adapter file that is used in place."""
    path = local_path(name)
    if not path.is_file():
        raise ModelNotFoundError(f"no such adapter: {path}", hint="localrun list")
    if gguf_role(path) != Role.ADAPTER.value:
        raise IntegrityError(f"{path} is not an adapter", hint=f"localrun show {path}")
    return path.resolve()


def _jinja(recipe: StoredRecipe, name: str) -> str | None:
    """Return a recipe's template in Jinja, or None if it cannot be translated."""
    try:
        return None if recipe.template is None else to_jinja(recipe.template)
    except UsageError as error:
        _log.warning("the template of %s is left out: %s", name, error)
        return None
