"""Commands that change settings of the chat: ``/set`` with all of Ollama's words, and short forms.

A parameter that belongs to the load of a model (num_gpu, num_thread, ...) takes effect in the model
that ``/save`` makes; the command says so. Invariant: a value that is refused changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.loading import load
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.cli.serving.run_options import read_format
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.chatting.chat import Chat

QUOTES = '"""'
EFFORTS = ("low", "medium", "high", "max")
LARGEST_PERSONA = 256 * 1024  # bytes
LOADED = frozenset(
    (
        "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "flash_attention",
        "kv_cache_type", "rope_frequency_base", "rope_frequency_scale", "rope_scaling",
        "yarn_orig_ctx", "yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Switch:
    """Command that sets fields of the settings and prints a line."""

    said: str
    changes: dict[str, Any]

    def __call__(self, chat: Chat, argument: str) -> None:
        """Set the fields."""
        if argument:
            raise UsageError(f"{argument!r} is one word too many", hint="/help set")
        for name, value in self.changes.items():
            setattr(chat.session.settings, name, value)
        chat.transcript.note(self.said)


def set_parameter(chat: Chat, argument: str) -> None:
    """Set a parameter; ``default`` leaves it to the model.

    Raises:
        UsageError: no such parameter, or a wrong value.
    """
    from localrun.cli.chatting.chat_settings import parse_change

    change, settings = parse_change(argument), chat.session.settings
    name = change.name
    if name == "keep_alive":
        settings.keep_alive = None if change.value is None else str(change.value)
    elif change.value is None:
        settings.sampling.pop(name, None)
    elif not change.note:
        settings.sampling[name] = change.value
    chat.transcript.note(f"Set parameter '{name}' to '{change.shown}'")
    if change.note:
        chat.transcript.note(f"{name} has no effect: {change.note}")
    if name == "num_ctx":
        load(chat)
    elif name in LOADED:
        chat.transcript.note(
            f"{name} belongs to the load of a model: /save NAME and /load NAME apply it"
        )


def set_system(chat: Chat, argument: str) -> None:
    """Set the system prompt; without text, show it."""
    text = argument.strip().removeprefix(QUOTES).removesuffix(QUOTES).strip()
    if not text:
        chat.transcript.note(chat.session.settings.system or "No system message is set.")
        return
    chat.session.settings.system = text
    chat.transcript.note("Set system message.")


def set_format(chat: Chat, argument: str) -> None:
    """Set the format of answers: ``json``, a schema, or a file with a schema.

    Raises:
        UsageError: it is neither.
    """
    if not argument:
        raise UsageError("which format?", hint="/set format json, or /set format schema.json")
    chat.session.settings.output_format = read_format(argument)
    chat.transcript.note(f"Set format to '{argument}' mode.")


def set_think(chat: Chat, argument: str) -> None:
    """Enable reasoning, with a level if there is one.

    Raises:
        UsageError: no such level.
    """
    level = argument.lower()
    if level in {"false", "off", "no"}:
        unset_think(chat, "")
        return
    if level not in {"", "true", "on", "yes", *EFFORTS}:
        raise UsageError(
            f"{argument} is no level of reasoning", hint=f"one of {', '.join(EFFORTS)}"
        )
    chat.session.settings.think = level if level in EFFORTS else True
    chat.transcript.note(f"Set 'think' mode{f' to {level}' if level in EFFORTS else ''}.")


def unset_think(chat: Chat, argument: str) -> None:  # noqa: ARG001 - the signature of all
    """Disable reasoning."""
    chat.session.settings.think = False
    chat.transcript.note("Set 'nothink' mode.")


def think(chat: Chat, argument: str) -> None:
    """Show, hide, enable or disable reasoning; without an argument, change whether it is shown.

    Raises:
        UsageError: an unknown word.
    """
    settings = chat.session.settings
    if argument not in {"", "show", "hide"}:
        set_think(chat, argument)
        return
    settings.hides_thinking = argument == "hide" if argument else not settings.hides_thinking
    chat.transcript.note(f"Thoughts are {'hidden' if settings.hides_thinking else 'shown'}.")


def persona(chat: Chat, argument: str) -> None:
    """Set the system prompt to the text of a file.

    Raises:
        UsageError: the file cannot be read, is too large or is no text.
    """
    if not argument:
        raise UsageError("which file?", hint="/persona FILE   its text becomes the system prompt")
    path = Path(argument).expanduser()
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_PERSONA + 1)
    except OSError as error:
        raise UsageError(f"{argument} cannot be read: {error.strerror}") from error
    try:
        text = content.decode().strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{argument} is not UTF-8 text") from error
    if len(content) > LARGEST_PERSONA or not text:
        raise UsageError(f"{argument} is {'too large' if text else 'empty'} for a system prompt")
    chat.session.settings.system = text
    chat.transcript.note(f"Set system message to the text of {argument}.")


def usage_of(words: str) -> Callable[[Chat, str], None]:
    """Return the handler of a command that needs another word."""

    def explain(chat: Chat, argument: str) -> None:
        known = f"one of {words}"
        if argument:
            raise UsageError(f"unknown word: {argument.partition(' ')[0]}", hint=known)
        chat.transcript.note(known)

    return explain


WORDS = (
    "parameter, system, history, nohistory, wordwrap, nowordwrap, format, noformat, verbose, "
    "quiet, think, nothink"
)
COMMANDS = (
    ChatCommand(
        name="/set parameter",
        usage="NAME VALUE",
        about="set a parameter, such as temperature or num_ctx",
        execute=set_parameter,
        arguments=(ArgumentKind.PARAMETER, ArgumentKind.TEXT),
    ),
    ChatCommand(
        name="/set system",
        usage="TEXT",
        about="set the system prompt",
        execute=set_system,
        aliases=("/system",),
        arguments=(ArgumentKind.TEXT,),
    ),
    ChatCommand(
        name="/set format",
        usage="json|FILE",
        about="answers are JSON, or follow a JSON Schema",
        execute=set_format,
        arguments=(("json",),),
    ),
    ChatCommand(
        name="/set noformat",
        about="answers are text again",
        execute=Switch("Disabled format.", {"output_format": None}),
    ),
    ChatCommand(
        name="/set think",
        usage="[LEVEL]",
        about="enable reasoning",
        execute=set_think,
        arguments=(EFFORTS,),
    ),
    ChatCommand(name="/set nothink", about="disable reasoning", execute=unset_think),
    ChatCommand(
        name="/set verbose",
        about="print token counts and rates after each answer",
        execute=Switch("Set 'verbose' mode.", {"is_verbose": True}),
    ),
    ChatCommand(
        name="/set quiet",
        about="print no token counts",
        execute=Switch("Set 'quiet' mode.", {"is_verbose": False}),
    ),
    ChatCommand(
        name="/set history",
        about="keep a history of what is typed",
        execute=Switch("Enabled history.", {"keeps_history": True}),
    ),
    ChatCommand(
        name="/set nohistory",
        about="keep no history of what is typed",
        execute=Switch("Disabled history.", {"keeps_history": False}),
    ),
    ChatCommand(
        name="/set wordwrap",
        about="wrap lines between words",
        execute=Switch("Set 'wordwrap' mode.", {"wraps_words": True}),
    ),
    ChatCommand(
        name="/set nowordwrap",
        about="leave the wrapping of lines to the terminal",
        execute=Switch("Set 'nowordwrap' mode.", {"wraps_words": False}),
    ),
    ChatCommand(name="/set", about="list what can be set", execute=usage_of(WORDS)),
    ChatCommand(
        name="/think",
        usage="[show|hide|on|off|LEVEL]",
        about="show or hide thoughts, enable or disable reasoning",
        execute=think,
        arguments=(("show", "hide", "on", "off", *EFFORTS),),
    ),
    ChatCommand(
        name="/persona",
        usage="FILE",
        about="take the system prompt from a file",
        execute=persona,
        arguments=(ArgumentKind.PATH,),
    ),
)
