"""Names of imported models, those in archives above all, that need the user's consent.

An archive says what its models are called. That word alone replaces no model that is here,
and it gives no model the name of a registry: `hf.co/owner/repo` stands for what hf.co has,
and an archive comes from anybody (ADR 36). A name that means the same manifest already is
no conflict, and neither is a registry's name that the user typed.
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
MOST_MODELS = 1000
MOST_TOLD = 3  # conflicts in one message


class NameConflictError(UsageError):
    """Names that an archive takes only with the user's consent."""


@dataclass(frozen=True, slots=True)
class NamedManifest:
    """A manifest of an archive, and what the archive calls it."""

    digest: str
    name: str | None


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A manifest of an archive, and the name that it gets here."""

    ref: ModelRef
    digest: str


def manifests_of_index(content: bytes) -> list[NamedManifest]:
    """Return the manifests that an index names.

    Raises:
        IntegrityError: it is no index of models.
    """
    try:
        described = json.loads(content)["manifests"]
        manifests = [
            NamedManifest(Descriptor.from_json(each).digest, _name_in(each)) for each in described
        ]
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise IntegrityError("no archive of models: it has no index of manifests") from error
    if not 0 < len(manifests) <= MOST_MODELS:
        raise IntegrityError(f"an archive of {len(manifests)} models")
    return manifests


def named_models(
    manifests: Sequence[NamedManifest], typed: ModelRef | None = None
) -> list[NamedModel]:
    """Return the models under the names that they get: the archive's, or the one that was typed.

    Raises:
        UsageError: the archive says no name or has several models, and ``typed`` does not
            fit that.
        IntegrityError: a name is none, or means two models.
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
        NameConflictError: the user has to consent to one.
    """
    conflicts = [told for model in models if (told := _conflict(store, model, typed)) is not None]
    if not conflicts:
        return
    more = len(conflicts) - MOST_TOLD
    shown = conflicts[:MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])
    raise NameConflictError(
        "; ".join(shown),
        hint="localrun import FILE NAME   gives it another name; --force   takes this one",
    )


def _conflict(store: Store, model: NamedModel, typed: ModelRef | None) -> str | None:
    """Return what the user has to consent to, None if there is nothing."""
    try:
        entry = store.find(model.ref)
    except IntegrityError:  # nobody can use it, and the import mends it
        return None
    if entry is not None and entry.ref.manifest == model.digest:
        return None
    if entry is not None:
        return f"{model.ref} is here already and is another model"
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
    """Return what the archive calls a model."""
    if manifest.name is None:
        raise UsageError("the archive does not say the model's name", hint="give it one")
    try:
        ref = parse_name(manifest.name)
        _ = ref.key
    except (ModelNameError, ValueError) as error:
        raise IntegrityError(f"the archive calls a model {manifest.name[:200]!r}") from error
    if ref.source is ModelSource.FILE:
        raise IntegrityError(f"the archive calls a model {manifest.name[:200]!r}, a file's name")
    return ref if ref.location is not None else replace(ref, digest=None)
