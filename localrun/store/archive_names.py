"""Name conflicts of imported models: names that need the user's consent.

An archive states the names of its models. Such a name never replaces a model of this machine, and
never takes the name of a registry: `hf.co/owner/repo` means what hf.co has, and an archive may come
from anybody (ADR 36). A name that already means the same manifest is no conflict, and neither is a
registry's name that the user typed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from localrun.errors import IntegrityError, ModelNameError, UsageError
from localrun.names.parse import parse_name
from localrun.names.ref import ModelSource
from localrun.store.manifest import Descriptor
from localrun.store.store import embedded_models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.names.ref import ModelRef
    from localrun.store.store import Store

REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"  # Docker's; its ref.name is only the tag
MAX_MODELS = 1000
MAX_SHOWN = 3  # conflicts in one message


class NameConflictError(UsageError):
    """Names that an archive may take only with the user's consent."""


@dataclass(frozen=True, slots=True)
class NamedManifest:
    """Manifest of an archive, and its name in the archive."""

    digest: str
    name: str | None


@dataclass(frozen=True, slots=True)
class NamedModel:
    """Manifest of an archive, and its name in the store."""

    ref: ModelRef
    digest: str


def manifests_of_index(content: bytes) -> list[NamedManifest]:
    """Return the manifests that an index names.

    Raises:
        IntegrityError: the content is no index of models.
    """
    try:
        described = json.loads(content)["manifests"]
        manifests = [
            NamedManifest(Descriptor.from_json(each).digest, _name_in(each)) for each in described
        ]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityError("not an archive of models: it has no index of manifests") from error
    if not 0 < len(manifests) <= MAX_MODELS:
        raise IntegrityError(f"an archive of {len(manifests)} models")
    return manifests


def named_models(
    manifests: Sequence[NamedManifest], typed: ModelRef | None = None
) -> list[NamedModel]:
    """Return the models with their names in the store: the archive's, or the typed one.

    Raises:
        UsageError: the archive has no name and ``typed`` is None, or it has several models and
            ``typed`` is given.
        IntegrityError: a name is malformed, or names two models.
    """
    if typed is not None and len({manifest.digest for manifest in manifests}) > 1:
        raise UsageError("the archive has several models", hint="import it without a name")
    models: dict[tuple[str, ...], NamedModel] = {}
    for manifest in manifests:
        model = NamedModel(typed or _own_name(manifest), manifest.digest)
        if models.setdefault(model.ref.key, model).digest != model.digest:
            raise IntegrityError(f"the archive calls two models {model.ref}")
    return list(models.values())


def check_names(store: Store, models: Sequence[NamedModel], typed: ModelRef | None = None) -> None:
    """Refuse names that replace a model, and a registry's names unless the user typed them.

    Raises:
        NameConflictError: a name needs the user's consent.
    """
    conflicts = [
        conflict for model in models if (conflict := _conflict(store, model, typed)) is not None
    ]
    if not conflicts:
        return
    more = len(conflicts) - MAX_SHOWN
    shown = conflicts[:MAX_SHOWN] + ([f"and {more} more"] if more > 0 else [])
    raise NameConflictError(
        "; ".join(shown),
        hint="localrun import FILE NAME   chooses another name; --force   replaces the model",
    )


def _conflict(store: Store, model: NamedModel, typed: ModelRef | None) -> str | None:
    """Return the reason why a name needs consent, or None."""
    try:
        entry = store.find(model.ref)
    except IntegrityError:  # the model is unusable, and the import repairs it
        return None
    if entry is not None and entry.ref.manifest == model.digest:
        return None
    if entry is not None:
        return f"{model.ref} exists and is another model"
    if str(model.ref).lower() in embedded_models():
        return f"{model.ref} comes with localrun and is another model"
    if typed is None and model.ref.source is not ModelSource.LOCAL:
        return f"the archive uses a registry's name, {model.ref}"
    return None


def _name_in(described: dict[str, Any]) -> str | None:
    annotations = described.get("annotations") or {}
    name = annotations.get(FULL_NAME) or annotations.get(REF_NAME)
    return name if isinstance(name, str) else None


def _own_name(manifest: NamedManifest) -> ModelRef:
    """Return the name of a model in its archive."""
    if manifest.name is None:
        raise UsageError("the archive has no model name", hint="localrun import FILE NAME")
    try:
        ref = parse_name(manifest.name)
        _ = ref.key
    except (ModelNameError, ValueError) as error:
        raise IntegrityError(f"the archive calls a model {manifest.name[:200]!r}") from error
    if ref.source is ModelSource.FILE:
        raise IntegrityError(f"the archive calls a model {manifest.name[:200]!r}, a file's name")
    return ref if ref.location is not None else replace(ref, digest=None)
