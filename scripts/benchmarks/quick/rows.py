"""Rows of `scripts/bench quick`: what is measured, in which state of the server, and the target.

A row is measured only while its state holds: rows of one state follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmarks.contestants import PEER
from benchmarks.quick.measures import (
    QUESTION,
    answer,
    answer_on_terminal,
    completion,
    create,
    first_output,
    first_run,
    first_token,
    idle_memory,
    listing,
    memory,
    peer_first_token,
    peer_memory,
    serve,
    stop,
    wait_meanwhile,
    wakeups,
)
from benchmarks.quick.programs import OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from benchmarks.contestants import Contestant
    from benchmarks.quick.programs import BarePython, Program

State = Literal["loaded", "few", "many", "none", "quiet", "large"]
Medians = dict[str, dict[str, float]]  # of a row, by contestant


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table.

    ``measure`` is of localrun and Ollama, ``peer`` of llama-server. ``limit`` returns the target
    from the medians of the rows so far, None without one. ``max_cost`` bounds the processor time of
    the command and of what was forked for it, in that of a bare Python; tests compare it.
    """

    name: str
    about: str
    state: State
    measure: Callable[[Program], float]
    limit: Callable[[Medians], float | None]
    unit: str = "ms"
    peer: Callable[[Contestant, Iterable[Path]], float] | None = None
    bare: Callable[[BarePython], float] | None = None
    is_of_ollama: bool = True
    max_rounds: int | None = None
    max_cost: float | None = None


def at_most(limit: float) -> Callable[[Medians], float]:
    """Return a target that is a number."""
    return lambda _: limit


def share_of_peer(share: float, row: str) -> Callable[[Medians], float | None]:
    """Return a target relative to llama-server's figure of the row."""

    def limit(medians: Medians) -> float | None:
        peer = medians.get(row, {}).get(PEER)
        return None if peer is None else share * peer

    return limit


def beyond(row: str, limit_ms: float) -> Callable[[Medians], float | None]:
    """Return a target relative to our figure of another row."""

    def limit(medians: Medians) -> float | None:
        ours = medians.get(row, {}).get(OURS)
        return None if ours is None else ours + limit_ms

    return limit


def command(name: str, limit_ms: float, max_cost: float, *words: str) -> Row:
    """Return the row of a command that ends at once."""
    return Row(
        name=name,
        about=" ".join(words or (name,)),
        state="loaded",
        measure=lambda program: program.piped_ms(*(words or (name,))),
        bare=lambda python: python.piped_ms(),
        limit=at_most(limit_ms),
        max_cost=max_cost,
    )


COLD_LIMIT = 0.8
ROWS = (
    command("version", 30, 3, "--version"),
    command("help", 50, 10, "--help"),
    command("list", 50, 10),
    command("ps", 50, 10),
    command("show", 50, 10, "show", "guide"),
    Row(
        name="stop", about="stop guide", state="loaded", measure=stop, limit=at_most(50),
        bare=lambda python: python.piped_ms(),
    ),
    Row(
        name="tab", about="completion of a name by Tab", state="loaded", limit=at_most(50),
        measure=completion, max_cost=10, is_of_ollama=False,
        bare=lambda python: python.piped_ms(),
    ),
    Row(
        name="run", about=f'run guide "{QUESTION}", loaded', state="loaded", limit=at_most(90),
        measure=answer, max_cost=12, bare=lambda python: python.piped_ms(),
    ),
    Row(
        name="run-terminal", about="the same on a terminal", state="loaded", limit=at_most(90),
        measure=answer_on_terminal, bare=lambda python: python.terminal_ms(),
    ),
    Row(
        name="create", about="POST /api/create from a model that is here", state="loaded",
        limit=at_most(30), measure=create, max_cost=12,
    ),
    Row(
        name="wakeups", about="wake-ups of an idle server, model loaded", state="loaded",
        limit=at_most(1), measure=wakeups, unit="1/s", max_rounds=1,
    ),
    Row(
        name="tags-60", about="/api/tags of 60 models", state="few", limit=at_most(10),
        measure=listing("/api/tags"),
    ),
    Row(
        name="models-60", about="/v1/models of 60 models", state="few", limit=at_most(10),
        measure=listing("/v1/models"),
    ),
    Row(
        name="wait-60", about="longest wait beside /api/tags of 60", state="few",
        limit=at_most(5), measure=wait_meanwhile("/api/tags"),
    ),
    Row(
        name="tags-400", about="/api/tags of 400 models", state="many", limit=at_most(30),
        measure=listing("/api/tags"),
    ),
    Row(
        name="models-400", about="/v1/models of 400 models", state="many", limit=at_most(30),
        measure=listing("/v1/models"),
    ),
    Row(
        name="wait-400", about="longest wait beside /api/tags of 400", state="many",
        limit=at_most(5), measure=wait_meanwhile("/api/tags"),
    ),
    Row(
        name="serve", about="serve to its first answer", state="none", limit=at_most(300),
        measure=serve,
    ),
    Row(
        name="run-first", about="run guide hi, nothing running", state="none",
        limit=at_most(600), measure=first_run, is_of_ollama=False,
    ),
    Row(
        name="idle-memory", about="idle server and warm process", state="quiet", unit="MB",
        limit=at_most(70), measure=idle_memory, max_rounds=1,
    ),
    Row(
        name="load", about="first token of 0.6B, not loaded, API", state="large",
        measure=first_token(is_cold=False), peer=peer_first_token(is_cold=False),
        limit=share_of_peer(COLD_LIMIT, "load"),
    ),
    Row(
        name="load-run", about="the same by run", state="large", limit=beyond("load", 50),
        measure=first_output(is_cold=False),
    ),
    Row(
        name="load-cold", about="first token of 0.6B from the disk, API", state="large",
        measure=first_token(is_cold=True), peer=peer_first_token(is_cold=True),
        limit=share_of_peer(COLD_LIMIT, "load-cold"),
    ),
    Row(
        name="load-run-cold", about="the same by run", state="large",
        limit=beyond("load-cold", 50), measure=first_output(is_cold=True),
    ),
    Row(
        name="memory", about="0.6B after one chat, no file pages", state="large", unit="MB",
        measure=memory, peer=peer_memory, limit=share_of_peer(1.1, "memory"), max_rounds=3,
    ),
)  # fmt: skip
