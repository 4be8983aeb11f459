"""Measurements of one model at one server, each by requests to its OpenAI-compatible API.

The rates of one stream are those that the server reports of its own work (``timings``, as
llama-server and localrun do), so that they can be compared with llama-bench; what the server does
not report is measured from here, and so is everything that several streams do together.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localrun.errors import BackendError
from localrun.waiting import results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.benchmarks.prompts import RandomPrompts
    from localrun.client.endpoint import Endpoint

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
SHORT_PROMPT = 16  # tokens, before what is generated
MILLISECONDS = 1000.0
SETTLE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """Times of one streamed answer, in seconds from its request, and its tokens."""

    first_s: float
    last_s: float
    num_prompt: int
    num_generated: int

    @property
    def generation_rate(self) -> float:
        """Return tokens a second behind the first one."""
        return (self.num_generated - 1) / max(self.last_s - self.first_s, 1e-9)

    @property
    def prompt_rate(self) -> float:
        """Return prompt tokens a second up to the first token."""
        return self.num_prompt / max(self.first_s, 1e-9)


class Meter:
    """One model at one server."""

    def __init__(
        self,
        endpoint: Endpoint,
        model: str,
        prompts: RandomPrompts,
        num_ctx: int | None = None,
    ) -> None:
        """Create a meter; ``num_ctx`` is the context that requests ask for, None for any."""
        self.endpoint = endpoint
        self.model = model
        self._prompts = prompts
        # a request that loads the model would else load it with the context of the settings
        self._context = {} if num_ctx is None else {"num_ctx": num_ctx}

    def settle(self) -> None:
        """Let the server put away what the measurement before has left in its cells.

        An engine keeps the latest prompt there, and attention looks at all cells; llama-bench
        empties them before each measurement. A short prompt is the latest one afterwards.
        """
        self.streamed_text(self.text_prompt(1), 1)
        time.sleep(SETTLE_S)

    def prompt_rate(self, num_tokens: int) -> float:
        """Return the tokens a second of a new prompt with so many tokens.

        Raises:
            LocalrunError: the server refuses the request.
        """
        prompt = self._prompts.ids(num_tokens)
        timings = self._timings(self._plain_body(prompt, 1))
        return _rate(timings, "prompt", num_before=0)

    def generation_rate(self, num_tokens: int) -> float:
        """Return the tokens a second of an answer with so many tokens, after a short prompt.

        The first token comes with the prompt: the time is that of the steps for all others, as
        each token of llama-bench is a step.
        """
        timings = self._timings(self._plain_body(self._prompts.ids(SHORT_PROMPT), num_tokens))
        return _rate(timings, "predicted", num_before=1)

    def joint_rate(self, num_streams: int, num_tokens: int) -> float:
        """Return the tokens a second of several answers at once, all in all."""
        return self._joint_rate(
            [
                self._plain_body(self._prompts.ids(SHORT_PROMPT), num_tokens)
                for _ in range(num_streams)
            ]
        )

    def joint_text_rate(self, prompts: Sequence[str], num_tokens: int) -> float:
        """Return the tokens a second of the answers to several texts, measured alike anywhere."""
        return self._joint_rate([self._body(prompt, num_tokens) for prompt in prompts])

    def first_token_s(self, prompt: Sequence[int] | None, num_tokens: int) -> float:
        """Return the seconds to the first token of a prompt, a new one if it is None."""
        ids = self._prompts.ids(num_tokens) if prompt is None else list(prompt)
        return self.streamed(self._body(ids, 2)).first_s

    def new_prompt(self, num_tokens: int) -> list[int]:
        """Return a prompt that the server does not know yet."""
        return self._prompts.ids(num_tokens)

    def text_prompt(self, num_words: int) -> str:
        """Return a prompt of text that the server does not know yet."""
        return self._prompts.text(num_words)

    def streamed_text(self, prompt: str, num_tokens: int) -> Streamed:
        """Return the times of an answer to a text, measured alike at any server."""
        return self.streamed(self._body(prompt, num_tokens))

    def image_first_token_s(self, url: str) -> float:
        """Return the seconds to the first token about a picture, given as a data URL."""
        content = [
            {"type": "text", "text": f"{self._prompts.text(4)}: describe the picture."},
            {"type": "image_url", "image_url": {"url": url}},
        ]
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 2,
            "temperature": 0,
            **self._context,
        }
        return self.streamed(body, CHAT).first_s

    def streamed(self, body: dict[str, Any], path: str = COMPLETIONS) -> Streamed:
        """Return the times of a streamed answer.

        Raises:
            BackendError: the answer has no token.
        """
        begun = time.monotonic()
        times: list[float] = []
        usage: dict[str, Any] = {}
        options = {"stream_options": {"include_usage": True}}
        for event in self.endpoint.stream(path, {**body, **options}):
            if _has_text(event.body):
                times.append(event.at_s - begun)
            usage = _fields(event.body.get("usage")) or usage
        if not times:
            raise BackendError(f"{self.endpoint.name} answered without a token")
        return Streamed(
            first_s=times[0],
            last_s=times[-1],
            num_prompt=_count(usage, "prompt_tokens", 0),
            num_generated=_count(usage, "completion_tokens", len(times)),
        )

    def _body(self, prompt: list[int] | str, num_tokens: int) -> dict[str, Any]:
        return {
            "model": self.model,
            "prompt": prompt,
            "max_tokens": num_tokens,
            "temperature": 0,
            "ignore_eos": True,
            **self._context,
        }

    def _plain_body(self, prompt: list[int], num_tokens: int) -> dict[str, Any]:
        """Return a request without draft tokens, whose number depends on the text."""
        return {**self._body(prompt, num_tokens), "draft_num_predict": 0}

    def _joint_rate(self, bodies: Sequence[dict[str, Any]]) -> float:
        begun = time.monotonic()
        with ThreadPoolExecutor(len(bodies), thread_name_prefix="bench") as threads:
            answers = results([threads.submit(self._whole, body) for body in bodies])
        seconds = time.monotonic() - begun
        num_generated = 0
        for answer in answers:
            count = (answer.get("usage") or {}).get("completion_tokens")
            if not isinstance(count, int):
                raise BackendError(f"{self.endpoint.name} reports no usage")
            num_generated += count
        return num_generated / seconds

    def _whole(self, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.endpoint.post(COMPLETIONS, body)
        return answer

    def _timings(self, body: dict[str, Any]) -> dict[str, Any]:
        timings = self._whole(body).get("timings")
        if not isinstance(timings, dict):
            raise BackendError(f"{self.endpoint.name} reports no timings")
        return timings


def _rate(timings: dict[str, Any], of: str, *, num_before: int) -> float:
    """Return tokens a second, without those that came before the time began."""
    num = float(timings[f"{of}_n"]) - num_before
    return num / max(float(timings[f"{of}_ms"]), 1e-6) * MILLISECONDS


def _count(usage: dict[str, Any], name: str, default: int) -> int:
    """Return a number of tokens, the default if the server does not report it."""
    value = usage.get(name)
    return value if isinstance(value, int) and value >= 0 else default


def _fields(value: object) -> dict[str, Any]:
    """Return an object of a foreign server, empty if it is none."""
    return value if isinstance(value, dict) else {}


def _has_text(body: dict[str, Any]) -> bool:
    choices = body.get("choices")
    choice = _fields(choices[0]) if isinstance(choices, list) and choices else {}
    delta = _fields(choice.get("delta")) or choice
    return any(delta.get(name) for name in ("text", "content", "reasoning", "reasoning_content"))
