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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What a model's file says of itself."""

    format: str
    family: str
    parameter_size: str  # "5.8M"
    quantization_level: str
    context_length: int | None  # tokens
    embedding_length: int | None = None  # numbers of a token's vector
    capabilities: tuple[str, ...]  # completion, tools ...: see capabilities.py
    role: GgufRole = "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model that can be run."""

    name: str
    shards: tuple[Path, ...]  # of the weights, in order; one but for split models
    digest: str  # "sha256:<hex>" of the manifest, of an embedded model's file
    size_bytes: int
    modified: datetime  # with time zone
    details: ModelDetails
    chat_template: str | None  # Jinja
    origin: str | None = None  # the name it was pulled from, or made from
    recipe: StoredRecipe = EMPTY
    adapters: tuple[tuple[Path, float], ...] = ()  # (GGUF LoRA, its scale)
    draft: tuple[Path, ...] = ()  # the shards of a model that guesses tokens
    projectors: tuple[Path, ...] = ()  # of images and sound into the model's vectors
    weights: tuple[str, ...] = ()  # digests of the shards: equal ones can share a runner


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What a name means now: how the store spells it, and the digest of the model."""

    name: str
    digest: str | None  # None for a file of this machine: hashing it takes too long
