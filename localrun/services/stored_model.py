"""Stored model: files, recipe and header details of one model that can be run.

Values only. `localrun.services.models` reads them from the store and from GGUF headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.services.recipes import EMPTY, StoredRecipe

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from localrun.gguf.role import GgufRole
    from localrun.remote.model import RemoteModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """Details in a model's GGUF header."""

    format: str
    family: str
    parameter_size: str  # "5.8M"
    quantization_level: str
    context_length: int | None  # tokens
    embedding_length: int | None = None  # dimensions of a token's vector
    capabilities: tuple[str, ...]  # completion, tools ...: see capabilities.py
    role: GgufRole = "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """Model in a list."""

    name: str
    digest: str  # "sha256:<hex>" of the manifest, or of an embedded model's file
    size_bytes: int
    modified: datetime  # with time zone
    details: ModelDetails
    remote: RemoteModel | None = None  # the engine that answers in place of weights


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel(ModelSummary):
    """Model that can be run."""

    shards: tuple[
        Path, ...
    ]  # of the weights in order; one, except for split models; none if remote
    chat_template: str | None  # Jinja
    origin: str | None = None  # the name it was pulled from, or its base
    is_pulled: bool = False  # the origin is a name that can be pulled
    recipe: StoredRecipe = EMPTY
    adapters: tuple[tuple[Path, float], ...] = ()  # (GGUF LoRA, its scale)
    draft: tuple[Path, ...] = ()  # the shards of the draft model
    projectors: tuple[Path, ...] = ()  # encoders of images and audio
    projector_digests: tuple[str, ...] = ()  # as ``weights``
    weights: tuple[
        str, ...
    ] = ()  # digests of the shards: models with equal ones can share a runner
    array_ends: tuple[tuple[int, int], ...] = ()  # in the header of the first shard, see `Header`


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Identity of a name: its spelling in the store, and the digest of the model."""

    name: str
    digest: str | None  # None for a file of this machine, which takes too long to hash
