"""What the pool is asked for, and what it tells: plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.engine.params import LoadOptions
from localrun.runner.messages import Stats

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from localrun.supervisor.planning import PlannedLoad


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """Which files to load, under which name."""

    name: str
    shards: tuple[Path, ...]
    digest: str
    size_bytes: int
    chat_template: str | None = None  # that of its requests, to be ready early
    num_ctx: int | None = None  # where a request does not say
    num_threads: int | None = None
    num_gpu_layers: int = -1  # -1 = all that fit
    options: LoadOptions = field(default_factory=LoadOptions)
    draft: tuple[Path, ...] = ()  # of a model that guesses tokens, as shards
    weights: tuple[str, ...] = ()  # digests of the shards, where they are known
    adapters: tuple[tuple[str, float], ...] = ()  # for embeddings; who generates says it each time

    @property
    def shared(self) -> RunnerModel:
        """Return what is equal for models that one runner can serve: all that a load needs."""
        nameless = replace(self, name="", size_bytes=0, chat_template=None)
        return replace(nameless, digest="", shards=()) if self.weights else nameless


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """How long a model stays after its last request: 0 = not at all, None = for ever."""

    seconds: float | None
    source: str = field(default="request", compare=False)  # or "recipe", "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
    """What a request wants beside its answer; None is as the pool or the model has it."""

    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None
    client: str = ""  # who asks: turns are fair between clients
    pins: bool = False


class ModelState(StrEnum):
    """Where a model is between its first request and the end of its runner."""

    STARTING = "starting"  # waits for memory, for another load, or for its process
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"  # finishes what it has, then makes room
    FAILED = "failed"  # crashed too often, or did not load


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningModel:
    """A model as ``ps`` shows it; one that is not loaded yet has no sizes."""

    name: str
    digest: str
    size_bytes: int
    size_gpu_bytes: int
    num_ctx: int
    num_open: int  # requests that have not ended
    until: datetime | None  # None = for ever, or while requests are open
    planned: PlannedLoad | None = None
    memory: tuple[tuple[str, int], ...] = ()  # (device, bytes taken there)
    shared_with: str | None = None  # the name whose line counts the memory of both
    state: ModelState = ModelState.READY
    progress: float = 1.0  # of the weights, while it loads
    num_waiting: int = 0  # requests that wait for the load or for their turn
    num_parallel: int = 0  # requests that run together
    stats: Stats = field(default_factory=Stats)  # of the runner
    tokens_per_s: float = 0.0
    is_pinned: bool = False
    reason: str = ""  # why it has failed
    retry_after_s: float = 0.0
    num_threads: int = 0
    speculates: bool = False  # tokens may be guessed ahead
    keep_alive: KeepAlive | None = None  # of the last request


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadHistory:
    """What has happened to a model since the server began."""

    num_loads: int = 0
    num_crashes: int = 0
