"""Interactive chat in the terminal, line by line.

/bye or Ctrl-D   exit               /clear   start a new conversation
/help            list the commands  three double quotes begin and end a message of several lines
Ctrl-C           stop the answer; at the prompt: exit
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from localrun.cli.output import Output
from localrun.cli.prompt import as_text
from localrun.cli.serving.answer import (
    Answer,
    interruptible,
    load_status,
    print_dropped,
    print_figures,
    receive,
)
from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.serving.answer import ChatOptions
    from localrun.client.api import LocalrunClient

PROMPT, CONTINUED = ">>> ", "... "
QUOTES = '"""'
HELP = """\
/bye     exit (also Ctrl-D)
/clear   start a new conversation
/help    list these commands
Three double quotes begin and end a message of several lines. Ctrl-C stops an answer."""


def chat(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    on_open: Callable[[], None] = lambda: None,
) -> None:
    """Chat until the user exits; ``connect`` returns a running server, starting it if necessary.

    ``on_open`` is called once, when the model is loaded.
    """
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - gives input() its line editing
    output = Output()
    messages: list[dict[str, str]] = []
    with interruptible():
        context = _open(connect(), options, output)
        output.note(f"{options.model}{context}: type a message, /help for help, /bye to exit")
        on_open()
        while (text := _read()) is not None:
            if text == "/clear":
                messages.clear()
            elif text in {"/help", "/?"}:
                output.note(HELP)
            elif text.startswith("/") and " " not in text:
                output.note(f"{text} is not a command; /help lists the commands")
            elif text:
                _turn(connect, options, messages, text, output)


def _open(client: LocalrunClient, options: ChatOptions, output: Output) -> str:
    """Load the model while the user types; return a note about its context size."""
    fields = {"num_ctx": options.sampling.get("num_ctx"), "keep_alive": options.keep_alive}
    body = {key: value for key, value in fields.items() if value is not None}
    for frame in client.load({"model": options.model, **body}):
        output.status("" if frame["done"] else load_status(frame, options.model))
    model = next((one for one in client.states() if one["name"] == options.model), None)
    if model is None:
        return ""
    note = f", {model['context_note']}" if model.get("context_note") else ""
    return f" (context {model['context']} tokens{note})"


def _turn(
    connect: Callable[[], LocalrunClient],
    options: ChatOptions,
    messages: list[dict[str, str]],
    text: str,
    output: Output,
) -> None:
    """Send a message and print the answer; a stopped answer stays in the conversation."""
    messages.append({"role": "user", "content": text})
    answer = Answer()
    try:
        body = options.body(list(messages))
        receive(connect(), body, answer, output if options.stream else None)
    except KeyboardInterrupt:
        output.note(" (stopped)")
    except LocalrunError as error:
        output.error(error)
        messages.pop()
        return
    output.piece("\n" if options.stream else f"{answer.text}\n")
    print_dropped(answer.figures, output)
    messages.append({"role": "assistant", "content": answer.text})
    if options.verbose:
        print_figures(answer.figures, output)


def _read() -> str | None:
    """Return the next message, None if the user exits."""
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
