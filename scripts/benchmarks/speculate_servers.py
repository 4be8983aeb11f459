"""Servers of `scripts/bench speculate`: llama-server with scripted drafts, both with real ones.

The comparison asks guide's questions on localrun and llama-server in turn, without and with the
same file that drafts: a draft model (``--draft``), or guide with an MTP layer (``--mtp``).
Answers end by themselves.

    plain     tokens per second without drafts
    copies    localrun's without the file: drafts of prompt lookup and earlier answers alone
    drafts    with the file; localrun's other sources stay on
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import environment

from benchmarks import peer
from benchmarks.contestants import OURS, PEER, Contestant, StartError, free_port
from benchmarks.load import ask_all, request, user
from benchmarks.models import write_drafter
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    import argparse

GUIDE = environment.ROOT / "localrun" / "data" / "guide.gguf"
SLOTS = 16
CONTEXT = 2048
MOST_TOKENS = 200
SCRIPTED_CONTEXT = 512
PEER_DRAFTS = 3  # llama-server's default
PLAIN, COPIES, DRAFTS = "plain", "copies", "drafts"
MINUTE = 60
REPEATS = 4  # of all questions in a round: the answers are short
QUESTIONS = (
    "How do I download a model?",
    "What is a Modelfile?",
    "How can I stop the server?",
    "What does localrun plan do?",
    "How do I list my models?",
    "What is quantization?",
    "How do I remove a model?",
    "Which APIs does the server have?",
    "How do I change the context length?",
    "What is 27 + 58?",
    "How do I use a GPU?",
    "How do I run several models at once?",
    "What is speculative decoding?",
    "How do I keep a model loaded?",
    "How do I make a model of my own?",
    "Where are the models stored?",
)


class ScriptedPeer:
    """llama-server on one model, without drafts or with drafts that it accepts at a set rate.

    A model of one narrow layer drafts as many tokens as is llama-server's default, and
    ``--spec-synth-rates`` decides which are accepted.
    """

    def __init__(self, model: Path, threads: int, rate: float | None = None) -> None:
        """Start it; blocks until the model is loaded. ``rate``: None is without drafts."""
        self._folder = tempfile.TemporaryDirectory(prefix="localrun-bench-")
        self._num_rounds = 0
        folder = Path(self._folder.name)
        drafting: list[str] = []
        if rate is not None:
            draft = folder / "draft.gguf"
            write_drafter(draft, model)
            rates = ",".join(f"{rate ** (n + 1):.6f}" for n in range(PEER_DRAFTS))
            drafting = [
                *("--spec-type", "draft-simple", "--model-draft", str(draft)),
                *("--spec-draft-n-max", str(PEER_DRAFTS), "--spec-synth-rates", rates),
            ]
        self._server = _llama_server(model, threads, folder, drafting, context=SCRIPTED_CONTEXT)
        self._server.start()

    def tokens_per_s(self, streams: int, num_tokens: int) -> float:
        """Return the rate of so many answers together, from the first token of the last one on."""
        self._num_rounds += 1  # another seed accepts other drafts
        seeds = range(self._num_rounds * SLOTS, (self._num_rounds + 1) * SLOTS)
        bodies = [
            request(user(text), num_tokens, seed=seed)
            for text, seed in zip(QUESTIONS[:streams], seeds, strict=False)
        ]
        answers = ask_all(self._server.port, bodies)
        begun = max(answer.first_at for answer in answers)
        ended = max(answer.ended_at for answer in answers)
        before = sum(sum(at <= begun for at in answer.times) for answer in answers)
        return (sum(answer.tokens for answer in answers) - before) / (ended - begun)

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()
        self._folder.cleanup()


@dataclass(frozen=True, slots=True)
class Measured:
    """One round on one server."""

    tokens_per_s: float
    num_drafted: int
    num_accepted: int


def compare_servers(chosen: argparse.Namespace) -> int:
    """Print the table of both servers without and with drafts."""
    begun, model = time.monotonic(), chosen.mtp or GUIDE
    threads = chosen.threads or useful_threads(model.stat().st_size)
    how = "an MTP layer" if chosen.mtp else f"the draft model {chosen.draft.name}"
    print(f"\nguide with {how}: threads {threads}, median of {chosen.rounds}, tokens/s")
    heads = f"{'streams':>8}{'server':>14}{PLAIN:>9}{COPIES:>9}{DRAFTS:>9}{'ratio':>7}"
    print(f"{heads}  accepted of drafted")
    with tempfile.TemporaryDirectory(prefix="localrun-bench-") as folder:
        servers = _servers(chosen, model, threads, Path(folder))
        try:
            for server in _each(servers):
                server.start()
            for streams in map(int, chosen.streams.split(",")):
                _show(servers, streams, chosen.rounds)
        finally:
            for server in _each(servers):
                server.stop()
    print(f"{(time.monotonic() - begun) / MINUTE:.1f} minutes", flush=True)
    return 0


def _each(servers: dict[tuple[str, str], Contestant]) -> list[Contestant]:
    """Return each server once."""
    return [*{id(server): server for server in servers.values()}.values()]


def _show(servers: dict[tuple[str, str], Contestant], streams: int, rounds: int) -> None:
    measured: dict[tuple[str, str], list[Measured]] = {key: [] for key in servers}
    for number in range(rounds):
        for key, server in servers.items():
            measured[key].append(_measure(key, server, streams, number))
    for name in (OURS, PEER):
        plain, drafts = (_median(measured[name, kind]) for kind in (PLAIN, DRAFTS))
        copies = measured.get((name, COPIES))
        rate = f"{_median(copies):.1f}" if copies else "-"
        drafted = sum(each.num_drafted for each in measured[name, DRAFTS])
        accepted = sum(each.num_accepted for each in measured[name, DRAFTS])
        print(
            f"{streams:8}{name:>14}{plain:9.1f}{rate:>9}{drafts:9.1f}{drafts / plain:7.2f}"
            f"  {accepted / max(1, drafted):.2f} of {drafted}",
            flush=True,
        )


def _median(rounds: list[Measured]) -> float:
    return statistics.median(each.tokens_per_s for each in rounds)


def _measure(key: tuple[str, str], server: Contestant, streams: int, number: int) -> Measured:
    """Ask every question a few times, so many together."""
    more: dict[str, Any] = {"temperature": 0, "ignore_eos": False}
    if key == (OURS, PLAIN):
        more["draft_num_predict"] = 0
    tokens, drafted, accepted, seconds = 0, 0, 0, 0.0
    for first in range(0, REPEATS * len(QUESTIONS), streams):
        # each time otherwise: earlier answers would draft all of it
        texts = [_question(number, index) for index in range(first, first + streams)]
        bodies = [request(user(text), MOST_TOKENS, **more) for text in texts]
        begun = time.monotonic()
        answers = ask_all(server.port, bodies)
        seconds += time.monotonic() - begun
        for answer in answers:
            tokens += answer.tokens
            one, other = _drafted([event for _, event in answer.events])
            drafted, accepted = drafted + one, accepted + other
    return Measured(tokens / seconds, drafted, accepted)


def _question(number: int, index: int) -> str:
    """Return a question that no other round asks in these words."""
    repeat, place = divmod(index, len(QUESTIONS))
    return f"{QUESTIONS[place]} ({number * REPEATS + repeat + 1})"


def _drafted(events: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the draft tokens of an answer and those accepted, as its last events have them."""
    for event in reversed(events):
        timings = event.get("timings") or {}
        if "draft_n" in timings:
            return timings["draft_n"], timings["draft_n_accepted"]
        details = (event.get("usage") or {}).get("completion_tokens_details") or {}
        if "accepted_prediction_tokens" in details:
            right = details["accepted_prediction_tokens"]
            return right + details["rejected_prediction_tokens"], right
    return 0, 0


def _servers(
    chosen: argparse.Namespace, model: Path, threads: int, folder: Path
) -> dict[tuple[str, str], Contestant]:
    drafting = (
        ["--spec-type", "draft-mtp"]
        if chosen.mtp
        else ["--spec-type", "draft-simple", "--model-draft", str(chosen.draft)]
    )
    plain = _localrun(model, None, threads, _sub(folder, "plain"))
    return {
        (OURS, PLAIN): plain,
        **({} if chosen.mtp else {(OURS, COPIES): plain}),  # its layers are never left out
        (OURS, DRAFTS): _localrun(model, chosen.draft, threads, _sub(folder, "drafts")),
        (PEER, PLAIN): _llama_server(model, threads, _sub(folder, "peer"), []),
        (PEER, DRAFTS): _llama_server(model, threads, _sub(folder, "drafting-peer"), drafting),
    }


def _sub(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name


def _localrun(model: Path, draft: Path | None, threads: int, folder: Path) -> Contestant:
    recipe = folder / "Modelfile"
    drafting = f"DRAFT {draft.resolve()}\n" if draft else ""
    recipe.write_text(
        f"FROM {model.resolve()}\n{drafting}PARAMETER num_ctx {CONTEXT}\n"
        f"PARAMETER num_thread {threads}\n"
    )
    port = free_port()
    environ = {
        "LOCALRUN_MODELS": str(folder / "store"),
        "LOCALRUN_HOST": f"127.0.0.1:{port}",
        "LOCALRUN_LOG_DIR": str(folder),
        "LOCALRUN_KEEP_ALIVE": "-1",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    localrun = [sys.executable, "-m", "localrun"]
    create = [*localrun, "create", "bench", "-f", str(recipe)]
    done = subprocess.run(
        create, env=os.environ | environ, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise StartError(done.stderr)
    return Contestant(OURS, [*localrun, "serve"], folder, port, environ)


def _llama_server(
    model: Path, threads: int, folder: Path, drafting: list[str], context: int = CONTEXT
) -> Contestant:
    port = free_port()
    options: dict[str, object] = {
        "--model": model, "--port": port, "--threads": threads, "--threads-batch": threads,
        "--ctx-size": SLOTS * context, "--parallel": SLOTS,
    }  # fmt: skip
    command = [str(peer.ensure_server()), "--kv-unified", "--jinja", "--no-ui", "--log-disable"]
    command += [str(word) for option in options.items() for word in option]
    return Contestant(PEER, [*command, *drafting], folder, port)
