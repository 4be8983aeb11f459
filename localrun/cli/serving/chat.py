"""The plain chat: line by line, nothing but a prompt.

/bye  or Ctrl-D   leave            /clear   forget the conversation
/help             these words      three double quotes begin and end a text of several lines
Ctrl-C            stop the answer; a second one, or one at the prompt, leaves
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.cli.output import Output
from localrun.cli.prompt import as_text
from localrun.cli.serving.answer import (
    Answer,
    interruptible,
    print_dropped,
    print_figures,
    receive,
    told_load,
)
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.serving.answer import Asking
    from localrun.client.api import LocalrunClient

PROMPT, CONTINUED = ">>> ", "... "
QUOTES = '"""'
HELP = """\
/bye     leave (also Ctrl-D)
/clear   forget the conversation
/help    these words
Three double quotes begin and end a text of several lines. Ctrl-C stops an answer."""


def chat(connect: Callable[[], LocalrunClient], asking: Asking) -> None:
    """Chat until the user leaves; ``connect`` finds the server, started again if it has left."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its line editing
    output = Output()
    messages: list[dict[str, str]] = []
    with interruptible():
        context = _open(connect(), asking, output)
        output.note(f"{asking.model}{context}: type a message, /help for help, /bye to leave")
        while (text := _read()) is not None:
            if text == "/clear":
                messages.clear()
            elif text in {"/help", "/?"}:
                output.note(HELP)
            elif text.startswith("/") and " " not in text:
                output.note(f"{text} is not known; /help lists what is")
            elif text:
                _turn(connect, asking, messages, text, output)


def _open(client: LocalrunClient, asking: Asking, output: Output) -> str:
    """Load the model while the user thinks of a message; return in words how much it holds."""
    asked = {"num_ctx": asking.options.get("num_ctx"), "keep_alive": asking.keep_alive}
    body = {key: value for key, value in asked.items() if value is not None}
    for frame in client.load({"model": asking.model, **body}):
        output.status("" if frame["done"] else told_load(frame, asking.model))
    row = next((one for one in client.states() if one["name"] == asking.model), None)
    if row is None:
        return ""
    note = f", {row['context_note']}" if row.get("context_note") else ""
    return f" (context {row['context']} tokens{note})"


def _turn(
    connect: Callable[[], LocalrunClient],
    asking: Asking,
    messages: list[dict[str, str]],
    text: str,
    output: Output,
) -> None:
    """Ask and print; what was said stays in the conversation, also when it was stopped."""
    messages.append({"role": "user", "content": text})
    answer = Answer()
    try:
        body = asking.body(list(messages))
        receive(connect(), body, answer, output if asking.stream else None)
    except KeyboardInterrupt:
        output.note(" (stopped)")
    except LocalrunError as error:
        output.error(error)
        messages.pop()
        return
    output.piece("\n" if asking.stream else f"{answer.text}\n")
    print_dropped(answer.figures, output)
    messages.append({"role": "assistant", "content": answer.text})
    if asking.verbose:
        print_figures(answer.figures, output)


def _read() -> str | None:
    """Return the next message; None when the user leaves."""
    try:
        text = as_text(input(PROMPT), "the message").strip()
        if text.startswith(QUOTES):
            text = as_text(_read_quoted(text.removeprefix(QUOTES)), "the message")
    except UsageError as error:
        Output().error(error)
        return ""
    except (EOFError, KeyboardInterrupt):
        Output().note("")
        return None
    return None if text in {"/bye", "/exit", "/quit"} else text


def _read_quoted(first: str) -> str:
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES):
        lines.append(input(CONTINUED))
    return "\n".join(lines).rstrip().removesuffix(QUOTES).strip()
