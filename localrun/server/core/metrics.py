"""Metrics of the server in the Prometheus text format (``/metrics``).

Counters and histograms live in memory until the process exits. They are used on the event loop
only and need no lock. Invariant: no text of a client becomes a label (labels.py).
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.server.core.labels import label_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from localrun.supervisor.pool import RunnerPool
    from localrun.supervisor.status import RunningModel

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAG_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LAG_EVERY_S = 0.1
GAP_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0)
MAX_SERIES = 1000  # of one family: names come from clients
NO_ROUTE = "none"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER_METHOD = "other"
CLIENT_LEFT, INTERNAL_ERROR = "499", "500"

# of loaded models; names that share a runner report the same values
GAUGES: tuple[tuple[str, str, Callable[[RunningModel], int]], ...] = (
    (
        "localrun_open_requests",
        "Requests of loaded models that have not ended.",
        lambda model: model.num_open,
    ),
    ("localrun_model_bytes", "Memory of loaded models.", lambda model: model.size_bytes),
    (
        "localrun_running_sequences",
        "Sequences that generate.",
        lambda model: model.stats.num_running,
    ),
    (
        "localrun_waiting_sequences",
        "Requests that wait for a slot of their runner.",
        lambda model: model.stats.num_waiting,
    ),
    ("localrun_kv_cells", "KV cache size, in cells.", lambda model: model.stats.num_cells),
    (
        "localrun_kv_cells_allocated",
        "KV cache cells that may be used now; the others took no memory yet.",
        lambda model: model.stats.num_allocated_cells,
    ),
    (
        "localrun_kv_lacks_memory",
        "Whether too little memory is free for more KV cache cells.",
        lambda model: int(model.stats.lacks_memory),
    ),
    (
        "localrun_kv_cells_used",
        "KV cache cells in use by sequences and cached prefixes.",
        lambda model: model.stats.num_used_cells,
    ),
    (
        "localrun_kv_streams",
        "Whether each running sequence has KV cache cells of its own (0: unified cells).",
        lambda model: int(model.stats.uses_streams),
    ),
    (
        "localrun_kv_transposed",
        "Whether the values in these cells are transposed, for long sequences.",
        lambda model: int(model.stats.is_transposed),
    ),
    (
        "localrun_kv_layout_switches",
        "Changes of the layout of the KV cache cells.",
        lambda model: model.stats.num_layout_switches,
    ),
)

Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class Counter:
    """Counter family: values that only increase, by label."""

    name: str
    about: str
    values: dict[Labels, float] = field(default_factory=dict)

    def add(self, amount: float, **labels: str) -> None:
        """Add to the counter of these labels; ignore new labels beyond `MAX_SERIES`."""
        key = tuple(labels.items())
        if key in self.values or len(self.values) < MAX_SERIES:
            self.values[key] = self.values.get(key, 0.0) + amount

    def lines(self) -> Iterator[str]:
        """Yield the lines of the family."""
        yield from _head(self.name, "counter", self.about)
        for labels, value in sorted(self.values.items()):
            yield _line(self.name, labels, value)


@dataclass(slots=True)
class Histogram:
    """Histogram family: durations in buckets with upper ``bounds``, in seconds."""

    name: str
    about: str
    bounds: tuple[float, ...]
    values: dict[Labels, list[int]] = field(default_factory=dict)
    sums: dict[Labels, float] = field(default_factory=dict)

    def observe(self, seconds: float, **labels: str) -> None:
        """Record a duration; ignore new labels beyond `MAX_SERIES`."""
        key = tuple(labels.items())
        if key not in self.values and len(self.values) >= MAX_SERIES:
            return
        buckets = self.values.setdefault(key, [0] * (len(self.bounds) + 1))
        buckets[bisect_left(self.bounds, seconds)] += 1
        self.sums[key] = self.sums.get(key, 0.0) + seconds

    def lines(self) -> Iterator[str]:
        """Yield the lines of the family, with cumulative buckets."""
        yield from _head(self.name, "histogram", self.about)
        for labels, buckets in sorted(self.values.items()):
            total = 0
            for bound, count in zip((*map(str, self.bounds), "+Inf"), buckets, strict=True):
                total += count
                yield _line(f"{self.name}_bucket", (*labels, ("le", bound)), total)
            yield _line(f"{self.name}_sum", labels, self.sums[labels])
            yield _line(f"{self.name}_count", labels, total)


class Metrics:
    """All families of the server."""

    def __init__(self) -> None:
        self.requests = Counter("localrun_requests_total", "Responses by route and status.")
        self.request_seconds = Histogram(
            "localrun_request_seconds", "Time from the request to the end of the response.", SECONDS
        )
        self.first_token_seconds = Histogram(
            "localrun_first_token_seconds", "Time to first token.", SECONDS
        )
        self.gap_seconds = Histogram(
            "localrun_gap_seconds", "Time between two chunks of text of an answer.", GAP_SECONDS
        )
        self.prompt_tokens = Counter("localrun_prompt_tokens_total", "Prompt tokens.")
        self.generated_tokens = Counter("localrun_generated_tokens_total", "Generated tokens.")
        self.cached_tokens = Counter(
            "localrun_cached_tokens_total", "Prompt tokens found in the prefix cache."
        )
        self.draft_tokens = Counter(
            "localrun_draft_tokens_total", "Draft tokens that were verified, by draft source."
        )
        self.accepted_draft_tokens = Counter(
            "localrun_accepted_draft_tokens_total", "Draft tokens that were accepted."
        )
        self.queue_seconds = Histogram(
            "localrun_queue_seconds", "Time of a request in the queue of its runner.", SECONDS
        )
        self.loop_lag_seconds = Histogram(
            "localrun_loop_lag_seconds",
            "Delay of the event loop while requests are open.",
            LAG_SECONDS,
        )
        self.answers = Counter("localrun_answers_total", "Answers by finish reason or error code.")
        self._num_open = 0
        self._is_in_use = asyncio.Event()  # set while requests are open

    def watch(self, app: ASGIApp) -> ASGIApp:
        """Return an ASGI application that records the requests of ``app``."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            begun, status = time.monotonic(), CLIENT_LEFT  # until a response starts

            async def counting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            self._open()
            try:
                await app(scope, receive, counting)
            except Exception:
                status = INTERNAL_ERROR  # sent by an outer middleware
                raise
            finally:
                route = getattr(scope.get("route"), "path", NO_ROUTE)
                method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
                self.requests.add(1, route=route, method=method, code=status)
                self.request_seconds.observe(time.monotonic() - begun, route=route)
                self._close()

        return counted

    async def watch_loop(self) -> None:
        """Record the delay of the event loop while requests are open, until cancelled."""
        while True:
            await self._is_in_use.wait()
            due = time.monotonic() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self.loop_lag_seconds.observe(max(0.0, time.monotonic() - due))

    def text(self, pool: RunnerPool, remote_requests: Mapping[str, int]) -> str:
        """Return all families as text; blocks while the locks of the pool are held.

        ``remote_requests`` are the open requests of remote models by name.
        """
        families = (
            self.requests,
            self.request_seconds,
            self.first_token_seconds,
            self.gap_seconds,
            self.prompt_tokens,
            self.generated_tokens,
            self.cached_tokens,
            self.draft_tokens,
            self.accepted_draft_tokens,
            self.queue_seconds,
            self.loop_lag_seconds,
            self.answers,
        )
        lines = [line for family in families for line in family.lines()]
        remote = _by_model(
            "localrun_remote_requests",
            "gauge",
            "Open requests of remote models.",
            _summed(remote_requests.items()),
        )
        return "\n".join([*lines, *_pool_lines(pool), *remote]) + "\n"

    def _open(self) -> None:
        self._num_open += 1
        self._is_in_use.set()

    def _close(self) -> None:
        self._num_open -= 1
        if not self._num_open:
            self._is_in_use.clear()


def _pool_lines(pool: RunnerPool) -> Iterator[str]:
    history, running = pool.load_history(), pool.running()
    loads = _summed((name, model.num_loads) for name, model in history.items())
    crashes = _summed((name, model.num_crashes) for name, model in history.items())
    yield from _by_model("localrun_loads_total", "counter", "Loads of a model.", loads)
    yield from _by_model("localrun_crashes_total", "counter", "Runner crashes.", crashes)
    yield from _by_model(
        "localrun_waiting_requests",
        "gauge",
        "Queued requests.",
        _summed((model.name, model.num_waiting) for model in pool.states()),
    )
    for name, about, value in GAUGES:
        values = {label_of(model.name): value(model) for model in running}
        yield from _by_model(name, "gauge", about, values)


def _summed(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the sums of the counts by label."""
    sums: dict[str, int] = {}
    for name, count in counts:
        sums[label_of(name)] = sums.get(label_of(name), 0) + count
    return sums


def _by_model(name: str, kind: str, about: str, values: Mapping[str, int]) -> Iterator[str]:
    yield from _head(name, kind, about)
    for model, value in sorted(values.items()):
        yield _line(name, (("model", model),), value)


def _head(name: str, kind: str, about: str) -> Iterable[str]:
    return (f"# HELP {name} {about}", f"# TYPE {name} {kind}")


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{pairs}}} {value:.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
