"""Ask once and print the answer while it comes."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.client.api import LocalrunClient

NANOSECONDS = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How to ask: everything but the messages."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    system: str | None = None
    output_format: str | dict[str, Any] | None = None  # "json", or a JSON Schema
    think: bool | None = None
    keep_alive: str | None = None
    verbose: bool = False
    stream: bool = True
    as_json: bool = False

    def body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the body of ``/api/chat``; what was not asked for is left out."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*head, *messages],
            "options": self.options,
        }
        if self.output_format is not None:
            body["format"] = self.output_format
        if self.think is not None:
            body["think"] = self.think
        if self.keep_alive is not None:
            body["keep_alive"] = self.keep_alive
        return body


@dataclass(slots=True)
class Answer:
    """What came so far, and the last frame with its figures."""

    text: str = ""
    thought: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def answer_once(client: LocalrunClient, asking: Asking, question: str) -> None:
    """Print the answer to one question."""
    output = Output(as_json=asking.as_json)
    answer = Answer()
    messages = [{"role": "user", "content": question}]
    shows = asking.stream and not asking.as_json
    with interruptible():
        receive(client, asking.body(messages), answer, output if shows else None)
    if asking.as_json:
        output.json(_plain(asking, answer))
    else:
        output.piece("\n" if shows else f"{answer.text}\n")
    print_dropped(answer.figures, output)
    if asking.verbose:
        print_figures(answer.figures, output)


def receive(
    client: LocalrunClient, body: dict[str, Any], answer: Answer, output: Output | None
) -> None:
    """Take the frames of an answer; ``output`` shows them as they come.

    Ends early, with what came so far in ``answer``, by whatever is raised: the
    connection is closed then, which cancels the generation.
    """
    above = Output()
    with contextlib.closing(client.chat(body)) as frames:
        for frame in frames:
            is_status = "status" in frame
            above.status(told_load(frame, body["model"]) if is_status else "")
            if is_status:
                continue
            message = frame.get("message", {})
            answer.text += message.get("content", "")
            answer.thought += message.get("thinking", "")
            answer.tool_calls += message.get("tool_calls", [])
            if output is not None:
                output.thought(message.get("thinking", ""))
                output.piece(message.get("content", ""))
            if frame.get("done"):
                answer.figures = frame


def told_load(frame: dict[str, Any], model: str) -> str:
    """Return in words how far the load of a model is."""
    if frame["status"] != "loading":
        return f"waiting for room for {model}"
    return f"loading {model} {100 * frame['progress']:.0f} %"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here also where a parent shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_figures(figures: dict[str, Any], output: Output) -> None:
    """Print durations, counts and rates under Ollama's names."""
    for label, name in (("total", "total"), ("load", "load")):
        output.note(
            f"{label + ' duration:':22}{figures.get(f'{name}_duration', 0) / NANOSECONDS:.3f} s"
        )
    for label, name in (("prompt eval", "prompt_eval"), ("eval", "eval")):
        count = figures.get(f"{name}_count", 0)
        seconds = figures.get(f"{name}_duration", 0) / NANOSECONDS
        rate = count / seconds if seconds else 0.0
        output.note(f"{label + ' count:':22}{count} tokens")
        output.note(f"{label + ' duration:':22}{seconds:.3f} s")
        output.note(f"{label + ' rate:':22}{rate:.1f} tokens/s")


def print_dropped(figures: dict[str, Any], output: Output) -> None:
    """Tell what the context had no room for, if anything."""
    dropped = figures.get("localrun", {})
    parts = [
        counted(dropped[name], noun)
        for name, noun in (("dropped_messages", "old message"), ("dropped_tokens", "token"))
        if dropped.get(name)
    ]
    if parts:
        output.aside(f"(the context is full: left out {', '.join(parts)})")


def _plain(asking: Asking, answer: Answer) -> dict[str, Any]:
    figures = answer.figures
    return {
        "model": asking.model,
        "content": answer.text,
        "thinking": answer.thought or None,
        "tool_calls": answer.tool_calls,
        "finish_reason": figures.get("done_reason"),
        "prompt_tokens": figures.get("prompt_eval_count"),
        "generated_tokens": figures.get("eval_count"),
        "total_s": figures.get("total_duration", 0) / NANOSECONDS,
        "load_s": figures.get("load_duration", 0) / NANOSECONDS,
        "prompt_s": figures.get("prompt_eval_duration", 0) / NANOSECONDS,
        "generation_s": figures.get("eval_duration", 0) / NANOSECONDS,
    }
