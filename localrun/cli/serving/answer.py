"""Chat requests to the server: their options, and the printing of the streamed answer."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from localrun.cli.output import Output, counted
from localrun.cli.serving.result_file import print_json, print_text
from localrun.cli.serving.streamed_answer import StreamedAnswer
from localrun.cli.version import warn_unless_own
from localrun.errors import ServerUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localrun.client.api import LocalrunClient

Result = TypeVar("Result")
NANOSECONDS = 1e9
BAR_WIDTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Options of ``/api/chat`` requests and of their output: everything but the messages."""

    model: str
    sampling: dict[str, Any] = field(default_factory=dict)
    system: str | None = None
    output_format: str | dict[str, Any] | None = None  # "json", or a JSON Schema
    think: bool | str | None = None  # or how much: low, medium, high, max
    keep_alive: str | None = None
    verbose: bool = False
    stream: bool = True
    as_json: bool = False
    hides_thinking: bool = False
    output_file: Path | None = None  # of the result, instead of stdout

    @property
    def is_streamed(self) -> bool:
        """Return whether the answer is printed as it arrives."""
        return self.stream and not self.as_json and self.output_file is None

    def body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the body of ``/api/chat``; options that are not set are left out."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [*head, *messages],
            "options": self.sampling,
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
    """Text that has arrived, and the final frame with the timings."""

    text: str = ""
    thought: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def answer_once(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    message: dict[str, Any],
    media_names: Sequence[str] = (),
) -> None:
    """Print the answer to one message; ``connect`` returns a running server.

    ``media_names`` are those of the message's media, for errors.
    """
    output = Output(as_json=options.as_json)
    body = options.body([message])
    with _naming(media_names, len(body["messages"]) - 1):
        answer = ask_server(connect, lambda client: _receive_from(client, body, options))
    if options.as_json:
        print_json(options, _json(options, answer))
    else:
        print_text(options, "\n" if options.is_streamed else f"{answer.text}\n")
    print_dropped(answer.figures, output)
    if options.verbose:
        print_figures(answer.figures, output)


def _naming(media_names: Sequence[str], place: int) -> contextlib.AbstractContextManager[None]:
    if not media_names:
        return contextlib.nullcontext()
    from localrun.cli.chatting.attaching.request_media import naming_media

    return naming_media(media_names, place)


def ask_server(
    connect: Callable[[], LocalrunClient], ask: Callable[[LocalrunClient], Result]
) -> Result:
    """Return the result of a request; ``connect`` returns a running server.

    A server that closes the connection before it answers was just shutting down: the request goes
    to the next one. A server of another version is reported before the answer.
    """

    def ask_running() -> Result:
        client = connect()
        client.when_version_is_known(warn_unless_own)
        return ask(client)

    with interruptible():
        try:
            return ask_running()
        except ServerUnreachableError as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
        return ask_running()


def _receive_from(client: LocalrunClient, body: dict[str, Any], options: ChatOptions) -> Answer:
    answer = Answer()
    with StreamedAnswer() as screen, contextlib.closing(client.chat(body)) as frames:
        for frame in frames:
            is_status = "status" in frame
            screen.status(load_status(frame, body["model"]) if is_status else "")
            if is_status:
                continue
            message = frame.get("message", {})
            answer.text += message.get("content", "")
            answer.thought += message.get("thinking", "")
            answer.tool_calls += message.get("tool_calls", [])
            if options.is_streamed:
                screen.thought("" if options.hides_thinking else message.get("thinking", ""))
                screen.content(message.get("content", ""))
            if frame.get("done"):
                answer.figures = frame
    return answer


def load_status(frame: dict[str, Any], model: str) -> str:
    """Return the status line of a load."""
    if frame["status"] != "loading":
        return f"waiting for memory for {model}"
    share = min(1.0, max(0.0, frame["progress"]))
    done = round(share * BAR_WIDTH)
    return f"loading {model} {'━' * done}{'─' * (BAR_WIDTH - done)} {100 * share:.0f} %"


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt, even if the parent shell ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def print_figures(figures: dict[str, Any], output: Output) -> None:
    """Print durations, token counts and rates under Ollama's names."""
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
    """Print what was left out because the context is full, if anything."""
    dropped = figures.get("localrun", {})
    parts = [
        counted(dropped[name], noun)
        for name, noun in (("dropped_messages", "old message"), ("dropped_tokens", "token"))
        if dropped.get(name)
    ]
    if parts:
        output.aside(f"(the context is full: left out {', '.join(parts)})")


def _json(options: ChatOptions, answer: Answer) -> dict[str, Any]:
    figures = answer.figures
    return {
        "model": options.model,
        "content": answer.text,
        "thinking": answer.thought or None,
        "tool_calls": answer.tool_calls,
        "finish_reason": figures.get("done_reason"),
        "prompt_tokens": figures.get("prompt_eval_count"),
        "cached_tokens": figures.get("prompt_eval_cached_count"),
        "generated_tokens": figures.get("eval_count"),
        "total_s": figures.get("total_duration", 0) / NANOSECONDS,
        "load_s": figures.get("load_duration", 0) / NANOSECONDS,
        "prompt_s": figures.get("prompt_eval_duration", 0) / NANOSECONDS,
        "generation_s": figures.get("eval_duration", 0) / NANOSECONDS,
    }
