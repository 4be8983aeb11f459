"""Models to load and options of requests: the plain values that the pool receives.

They name files, names and times, and know nothing of slots and runners.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from localrun.engine.params import LoadOptions

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """The files of a model to load, its options and its name."""

    name: str
    shards: tuple[Path, ...]
    digest: str
    size_bytes: int
    chat_template: str | None = None  # of its requests, to be compiled during the load
    num_ctx: int | None = None  # for requests that set none
    num_threads: int | None = None
    num_gpu_layers: int = -1  # -1 = all that fit
    options: LoadOptions = field(default_factory=LoadOptions)
    # Shards of a draft model for speculative decoding. Requests with and without one share a
    # runner: whether it loads another one is decided by `draft_choice.needs_other_draft`.
    draft: tuple[Path, ...] = ()
    draft_name: str = field(default="", compare=False)  # "" if the recipe names it
    draft_source: str = field(default="recipe", compare=False)  # or "request"
    draft_rule: str = ""  # "auto" or "none" if a request says so against the server's setting
    origin: str | None = field(default=None, compare=False)  # see `StoredModel`
    projector: Path | None = None  # encoder of images and sounds
    projector_digest: str = ""  # if known
    weights: tuple[str, ...] = ()  # digests of the shards, if known
    adapters: tuple[tuple[str, float], ...] = ()  # for embeddings; requests to generate name theirs
    array_ends: tuple[tuple[int, int], ...] = field(default=(), compare=False)  # see `Header`

    @property
    def shared(self) -> RunnerModel:
        """Return the part that is equal for models that one runner can serve: what a load needs."""
        nameless = replace(self, name="", size_bytes=0, chat_template=None, draft=(), draft_rule="")
        if self.projector_digest:
            nameless = replace(nameless, projector=None)
        return replace(nameless, digest="", shards=()) if self.weights else nameless


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """The time that a model stays loaded after its last request: 0 = none, None = no limit."""

    seconds: float | None
    source: str = field(default="request", compare=False)  # or "recipe", "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """Options of a request for the pool; None means the pool's or the model's default."""

    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None
    client: str = ""  # for fairness between clients
    pins: bool = False
    is_background: bool = False  # gives way to requests that are not
