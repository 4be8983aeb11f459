"""Benchmark of `localrun batch`: a file of prompts, and the ways to answer all of them.

    batch     localrun batch FILE -o OUT, from the start of the command to its end
    server    /v1/batches, from the creation to completed
    openai    16 threads that call the openai package, at localrun
    peer      the same at llama-server

All take turns, and each figure is the median of the rounds. `--beside` measures the gaps of a chat
alone and beside a batch of the server. `--kills N` kills a batch with SIGKILL
at N random moments and compares its output with one that was not; `--memory` prints the peak of
the command's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import psutil

from benchmarks.contestants import Contestant, Setup, StartError, both
from benchmarks.load import ask_all, request, user
from benchmarks.models import GUIDE, ensure_model
from benchmarks.peer import PeerError
from benchmarks.texts import WORDS
from localrun.engine.threads import useful_threads

if TYPE_CHECKING:
    from collections.abc import Callable

LOOP = Path(__file__).with_name("openai_loop.py")
THREADS = 16
CONTEXT, CELLS = 2048, 20480
POLL_S = 0.02
MOST_BESIDE = 1.5  # of a gap alone
QUESTIONS = (
    "What is {0} + {1}?",
    "How do I download a model?",
    "What is a Modelfile?",
    "How do I list models?",
    "What is the capital of France?",
)
SHARED = "You answer questions about the weather in one short sentence, without any greeting. "


def main(arguments: list[str]) -> int:
    """Print a table; return 1 if the batch is not the fastest, or a killed one differs."""
    parser = argparse.ArgumentParser(prog="scripts/bench batch", description=__doc__)
    parser.add_argument("--model", default="guide")
    parser.add_argument("--lines", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--beside", action="store_true")
    chosen = parser.parse_args(arguments)
    model = GUIDE if chosen.kills else ensure_model(chosen.model)  # answers that end
    setup = Setup(
        model=model,
        threads=useful_threads(model.stat().st_size),
        context=CONTEXT,
        cells=CELLS,
    )
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bench-batch-") as folder,
            both(setup, Path(folder)) as (ours, peer),
        ):
            bench = BatchBench(ours, peer, Path(folder), chosen.lines, chosen.tokens)
            if chosen.kills:
                return bench.kill(chosen.kills)
            if chosen.beside:
                return bench.beside(chosen.rounds)
            return bench.memory() if chosen.memory else bench.compare(chosen.rounds)
    except (PeerError, StartError) as error:
        print(error)
        return 1


class BatchBench:
    """Two servers, and a file of requests."""

    def __init__(
        self, ours: Contestant, peer: Contestant, folder: Path, num_lines: int, num_tokens: int
    ) -> None:
        self._ours = ours
        self._peer = peer
        self._folder = folder
        self._file = folder / "requests.jsonl"
        self._texts = folder / "prompts.txt"
        self._num_tokens = num_tokens
        self._num_lines = num_lines
        drawn = random.Random(7)
        prompts = [" ".join(drawn.choices(WORDS, k=20)) for _ in range(num_lines)]
        self._texts.write_text("\n".join(map(_question, range(num_lines))))
        with self._file.open("w") as file:
            for number, prompt in enumerate(prompts):
                file.write(json.dumps(_line(number, prompt, num_tokens)) + "\n")

    def compare(self, rounds: int) -> int:
        """Measure all ways in turn."""
        ways: dict[str, Callable[[], float]] = {
            "batch": self._batch,
            "server": self._server,
            "openai": lambda: self._loop(self._ours),
            "peer": lambda: self._loop(self._peer),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            order = list(ways) if number % 2 else list(reversed(ways))
            for name in order:
                seconds[name].append(ways[name]())
        medians = {name: statistics.median(each) for name, each in seconds.items()}
        print(f"{self._num_lines} lines of {self._num_tokens} tokens, {rounds} rounds")
        for name, median in medians.items():
            rate = self._num_lines / median
            spread = " ".join(f"{each:.2f}" for each in seconds[name])
            ratio = median / medians["batch"]
            print(f"{name:8} {median:7.2f} s {rate:8.1f} lines/s   x{ratio:.2f}   ({spread})")
        return int(medians["batch"] > min(medians["openai"], medians["peer"]))

    def kill(self, num_kills: int) -> int:
        """Kill a batch again and again, and compare its output with that of one that was not."""
        whole, broken = self._folder / "whole.jsonl", self._folder / "broken.jsonl"
        begun = time.perf_counter()
        subprocess.run(self._command(self._texts, whole), env=self._environ, check=True)
        whole_s = time.perf_counter() - begun
        drawn, killed = random.Random(os.getpid()), []
        for _ in range(num_kills):
            process = subprocess.Popen(self._command(self._texts, broken), env=self._environ)
            wait_s = drawn.uniform(0.1, 0.9) * whole_s / (num_kills + 1)
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed.append(f"{wait_s:.2f}")
        subprocess.run(self._command(self._texts, broken), env=self._environ, check=True)
        pairs = list(zip(whole.open("rb"), broken.open("rb"), strict=True))
        different = [number for number, (one, other) in enumerate(pairs) if one != other]
        is_equal, num_lines = not different, len(pairs)
        for number in different[:3]:
            print(f"line {number}:", *(line.decode().strip() for line in pairs[number]), sep="\n  ")
        print(f"whole: {whole_s:.1f} s; killed after {', '.join(killed)} s; {num_lines} lines;",
              "equal" if is_equal else "DIFFERENT")  # fmt: skip
        return int(not is_equal)

    def beside(self, rounds: int) -> int:
        """Measure the gaps of a chat alone and beside a batch, which is then cancelled."""
        url = f"http://127.0.0.1:{self._ours.port}/v1"
        ratios, rates = [], []
        with openai.OpenAI(base_url=url, api_key="none") as client:
            uploaded = client.files.create(file=self._file, purpose="batch")
            for _ in range(rounds):
                alone = self._gap_s()
                batch = client.batches.create(
                    input_file_id=uploaded.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                )
                first = _await_lines(client, batch.id, 1)
                begun = time.perf_counter()
                beside = self._gap_s()
                seconds = time.perf_counter() - begun
                last = _lines_of(client, batch.id)
                client.batches.cancel(batch.id)
                while client.batches.retrieve(batch.id).status not in {"cancelled", "completed"}:
                    time.sleep(POLL_S)
                ratios.append(beside / alone)
                rates.append((last - first) / seconds)
                print(f"p95 of the gaps: {1000 * alone:.1f} ms alone, {1000 * beside:.1f} beside;"
                      f" {rates[-1]:.1f} lines/s meanwhile")  # fmt: skip
        print(f"ratio {statistics.median(ratios):.2f}")
        return int(statistics.median(ratios) > MOST_BESIDE)

    def _gap_s(self) -> float:
        """Return the 95th percentile of the gaps between the tokens of a chat."""
        body = request(user("Tell me a long story."), 12 * self._num_tokens)
        (answer,) = ask_all(self._ours.port, [body])
        times = answer.times
        gaps = sorted(after - before for before, after in pairwise(times))
        return gaps[int(0.95 * (len(gaps) - 1))]

    def memory(self) -> int:
        """Print the command's memory at its beginning and its peak."""
        output = self._folder / "memory.jsonl"
        environ = {**self._environ, "LOCALRUN_WARM": "0"}
        process = subprocess.Popen(self._command(self._texts, output), env=environ)
        seen: list[tuple[float, int]] = []
        begun = time.perf_counter()
        while process.poll() is None:
            try:
                seen.append(
                    (time.perf_counter() - begun, psutil.Process(process.pid).memory_info().rss)
                )
            except psutil.Error:
                break
            time.sleep(POLL_S)
        tenth = max(1, len(seen) // 10)
        early = max(rss for _, rss in seen[tenth : 2 * tenth]) / 1e6
        late = max(rss for _, rss in seen[-tenth:]) / 1e6
        peak = max(rss for _, rss in seen) / 1e6
        print(f"{self._num_lines} lines in {seen[-1][0]:.1f} s")
        print(
            f"memory: {early:.1f} MB in the second tenth, {late:.1f} in the last, peak {peak:.1f}"
        )
        return 0

    @property
    def _environ(self) -> dict[str, str]:
        return os.environ | self._ours.environ

    def _command(self, file: Path, output: Path) -> list[str]:
        options = ["--temperature", "0", "--max-tokens", str(self._num_tokens)]
        return [
            sys.executable,
            "-m",
            "localrun",
            "batch",
            "bench",
            str(file),
            "-o",
            str(output),
            *options,
        ]

    def _batch(self) -> float:
        output = self._folder / "out.jsonl"
        output.unlink(missing_ok=True)
        begun = time.perf_counter()
        subprocess.run(
            self._command(self._file, output),
            env=self._environ,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        return time.perf_counter() - begun

    def _server(self) -> float:
        url = f"http://127.0.0.1:{self._ours.port}/v1"
        with openai.OpenAI(base_url=url, api_key="none") as client:
            uploaded = client.files.create(file=self._file, purpose="batch")
            begun = time.perf_counter()
            batch = client.batches.create(
                input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            while batch.status not in {"completed", "failed"}:
                time.sleep(POLL_S)
                batch = client.batches.retrieve(batch.id)
            return time.perf_counter() - begun

    def _loop(self, contestant: Contestant) -> float:
        command = [sys.executable, str(LOOP), str(contestant.port), str(self._file), str(THREADS)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout)


def _question(number: int) -> str:
    """Return a question that guide answers without hesitation.

    Where two tokens are as likely, the sums of a larger or smaller batch decide between them.
    """
    return QUESTIONS[number % len(QUESTIONS)].format(number % 50, number % 7)


def _lines_of(client: openai.OpenAI, batch_id: str) -> int:
    counts = client.batches.retrieve(batch_id).request_counts
    return counts.completed if counts else 0


def _await_lines(client: openai.OpenAI, batch_id: str, num: int) -> int:
    """Return how many lines are done, as soon as there are ``num``."""
    while (done := _lines_of(client, batch_id)) < num:
        time.sleep(POLL_S)
    return done


def _line(number: int, prompt: str, num_tokens: int) -> dict[str, object]:
    messages = [{"role": "user", "content": SHARED + prompt}]
    body = {"model": "bench", "messages": messages, "temperature": 0, "max_tokens": num_tokens}
    request = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions"}
    return {**request, "body": body}
