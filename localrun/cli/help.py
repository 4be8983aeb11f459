"""``localrun help``: pages of ``docs/help``, the table of parameters, and the help of commands."""

from __future__ import annotations

import sys
from typing import Annotated

from typer import Argument, Option

from localrun.cli.output import Output

GENERATED = {"parameters": "parameters of PARAMETER and of the APIs' options"}
TOPICS = {
    "quickstart": "install, a first answer, a first download",
    "batch": "many prompts from a file: formats, resuming, OpenAI's batches",
    "bench": "speed of models, beside other servers and earlier reports",
    "eval": "tasks, pass rates, comparison of models",
    "chat": "the chat in the terminal: keys, commands, kept chats",
    "web": "the chat page in the browser",
    "models": "pull, search, import, list, update and remove models",
    "names": "syntax of model names",
    "recipes": "system prompts, parameters and adapters by a Modelfile",
    "modelfile": "syntax of a Modelfile",
    "quantize": "smaller copies of models: types, exceptions, importance matrices",
    **GENERATED,
    "media": "images, sounds and documents",
    "gpu": "which device computes, and how to use a GPU",
    "remote": "models that another engine answers: vLLM, SGLang, another localrun",
    "workers": "one model over several machines",
    "deploy": "files for Kubernetes, Compose, Quadlet and Ray Serve",
    "server": "the server, its settings, keys and TLS",
    "api": "HTTP APIs of the server",
    "connect": "connect and launch editors and agents",
    "editors": "settings by hand: editors, agents and libraries that use the server",
    "offline": "machines without a network",
    "store": "files on disk: models, caches, logs",
    "troubleshooting": "symptoms, causes and what to type",
    "faq": "questions, also of those who know other programs",
    "privacy": "what uses the network, and what is stored",
}
COMMAND_LINE = "localrun help COMMAND prints the options of a command."


def complete_topic(incomplete: str) -> list[str]:
    """Return the topics that begin with a text."""
    return [topic for topic in TOPICS if topic.startswith(incomplete)]


def help_command(
    topic: Annotated[
        list[str] | None,
        Argument(help="Help topic, or a command.", autocompletion=complete_topic),
    ] = None,
    *,
    no_pager: Annotated[bool, Option("--no-pager", help="Print long pages at once.")] = False,
) -> None:
    """Print a help topic or the help of a command, or list the topics.

    Long pages are shown by $PAGER if the output is a terminal.

    Examples: localrun help modelfile, localrun help run
    """
    output = Output()
    if not topic:
        output.table((), list(TOPICS.items()))
        output.line(f"\n{COMMAND_LINE}")
    elif topic == ["parameters"]:
        _show_parameters(output)
    elif len(topic) == 1 and topic[0] in TOPICS:
        _show_page(topic[0], output, uses_pager=not no_pager)
    else:
        _show_command(topic, output, uses_pager=not no_pager)


def _show_page(topic: str, output: Output, *, uses_pager: bool) -> None:
    from importlib.resources import files

    from localrun.cli.pager import has_color, screen_width, show
    from localrun.cli.pages import Look, render

    page = files("localrun").joinpath("docs", "help", f"{topic}.md").read_text("utf-8")
    look = Look(width=screen_width(), has_color=has_color())
    show(render(page, look), output, uses_pager=uses_pager)


def _show_command(words: list[str], output: Output, *, uses_pager: bool) -> None:
    from contextlib import redirect_stdout

    from typer.core import TyperGroup

    from localrun.cli.app import command_line
    from localrun.cli.pager import Written, show

    program = command_line()
    commands = program.commands if isinstance(program, TyperGroup) else {}
    if words[0] not in commands:
        named = [name for name, command in commands.items() if not command.hidden]
        raise _unknown(words[0], [*TOPICS, *named])
    written = Written(sys.stdout)
    try:
        with redirect_stdout(written):
            program([*words, "--help"], prog_name="localrun")
    finally:  # it exits, with a code of its own if a word names no command
        show(written.getvalue(), output, uses_pager=uses_pager)


def _unknown(word: str, known: list[str]) -> Exception:
    from difflib import get_close_matches

    from localrun.errors import NotFoundError

    nearest = get_close_matches(word.lower(), known, n=1)
    return NotFoundError(
        f"no help topic or command is named {word}; the topics are {', '.join(TOPICS)}",
        hint=f"localrun help {nearest[0]}" if nearest else "localrun help   lists the topics",
    )


def _show_parameters(output: Output) -> None:
    from localrun.modelfile.known import PARAMETERS
    from localrun.modelfile.parameters import describe_values

    output.table(
        ("NAME", "VALUE", "MEANING"),
        [
            (known.name, describe_values(known), known.about)
            for known in PARAMETERS
            if not (known.deprecated or known.removed)
        ],
    )
