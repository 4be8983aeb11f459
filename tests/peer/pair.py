"""Our runner and llama-server on one file, asked for the same."""

from __future__ import annotations

import queue
import subprocess
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
from benchmarks.peer import find_server

from localrun.engine.params import SamplingParams
from localrun.runner.messages import (
    Failed,
    Finished,
    Generate,
    Generation,
    Load,
    PromptSpec,
    Score,
    Step,
    Submitted,
    Terminal,
)
from localrun.supervisor.runner import Runner
from localrun.supervisor.runner_process import start_runner
from tests.waiting import HANG_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from localrun.runner.messages import Event

CONTEXT = 512
GREEDY = SamplingParams(temperature=0, draft_num_predict=0)
Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What one of the two said; ``scores`` are (bytes, logprob, [(bytes, logprob)]) a token."""

    text: str
    reason: str  # "stop", "length"
    num_prompt: int
    num_generated: int
    stop: str | None = None
    scores: tuple[Score, ...] = ()


class Ours:
    """A runner."""

    def __init__(self, path: Path, projector: Path | None = None) -> None:
        self._runner = Runner(start_runner)
        load = Load(
            model_paths=(str(path),),
            num_ctx=CONTEXT,
            num_parallel=1,
            num_threads=1,
            projector_path=str(projector) if projector else None,
        )
        self.ready = self._runner.load(load)
        self._numbers = count(1)

    def ask(self, make: type[Submitted], **fields: Any) -> tuple[Terminal, list[Event]]:
        """Return the terminal event of a request, and all before it."""
        events: queue.Queue[Event] = queue.Queue()
        self._runner.submit(make(request_id=next(self._numbers), **fields), events.put)
        seen: list[Event] = []
        while not isinstance(event := events.get(timeout=HANG_S), Terminal):
            seen.append(event)
        assert not isinstance(event, Failed), event.message
        return event, seen

    def generate(
        self, prompt: str | PromptSpec, sampling: SamplingParams = GREEDY, **fields: Any
    ) -> Answer:
        spec = PromptSpec(text=prompt) if isinstance(prompt, str) else prompt
        options = {name: fields.pop(name) for name in ("logprobs", "constraint") if name in fields}
        end, events = self.ask(
            Generate,
            generation=Generation(prompt=spec, **options),
            sampling=sampling,
            **fields,
        )
        assert isinstance(end, Finished)
        steps = [event for event in events if isinstance(event, Step)]
        return Answer(
            text="".join(text for step in steps for _, text in step.deltas),
            reason=end.reason,
            num_prompt=end.prompt_tokens,
            num_generated=end.generated_tokens,
            stop=end.stop,
            scores=tuple(one for step in steps for _, found in step.scores for one in found),
        )

    def close(self) -> None:
        self._runner.close()


class Theirs:
    """A llama-server."""

    def __init__(self, path: Path, port: int, options: Sequence[str] = ()) -> None:
        program = find_server()
        assert program is not None
        command = [str(program), "--model", str(path), "--port", str(port), "--no-ui"]
        command += ["--ctx-size", str(CONTEXT), "--parallel", "1", "--threads", "1"]
        command += ["--threads-batch", "1", "--log-disable", "--jinja", "--no-cache-prompt"]
        self._url = f"http://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._is_up)

    def post(self, path: str, body: Json) -> Any:
        response = httpx.post(f"{self._url}{path}", json=body)
        assert response.is_success, response.text
        return response.json()

    def generate(self, prompt: str, **fields: Any) -> Answer:
        body = {"prompt": prompt, "temperature": 0, "n_predict": -1, "cache_prompt": False} | fields
        found = self.post("/completion", body)
        return Answer(
            text=found["content"],
            reason="length" if found["stop_type"] == "limit" else "stop",
            num_prompt=found["tokens_evaluated"],
            num_generated=found["tokens_predicted"],
            stop=found["stopping_word"] or None,
            scores=tuple(_score(one) for one in found.get("completion_probabilities", ())),
        )

    def _is_up(self) -> bool:
        try:
            return httpx.get(f"{self._url}/health").is_success
        except httpx.TransportError:
            assert self._process.poll() is None, "llama-server does not start"
            return False

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _score(one: Json) -> Score:
    top = tuple((bytes(other["bytes"]), other["logprob"]) for other in one["top_logprobs"])
    return bytes(one["bytes"]), one["logprob"], top
