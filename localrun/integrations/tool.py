"""Tool: a program that can use the server, described by data and functions of a `Target`.

Each module of `localrun.integrations.tools` has one or a few; nothing else knows a tool's name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import CHAT_CONTEXT, ModelRole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from localrun.integrations.edits import Edit
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


class ProbeKind(StrEnum):
    """A request that a tool sends; see `localrun.integrations.probes`."""

    MODELS = "models"
    CHAT = "chat"
    CHAT_TOOLS = "chat with tools"
    RESPONSES = "responses"
    MESSAGES = "messages"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    OLLAMA_TAGS = "Ollama's list"
    OLLAMA_CHAT = "Ollama's chat"
    OLLAMA_GENERATE = "Ollama's generate"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """The edits that connect a tool, of one of its files."""

    path: Path
    edits: tuple[Edit, ...]
    format: FileFormat = FileFormat.JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a tool is started: nothing but these arguments, variables and files of our own."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    unset: tuple[str, ...] = ()  # variables that would send the tool elsewhere
    files: Mapping[str, str] = field(default_factory=dict)  # name to text; see `OWN_FOLDER`


OWN_FOLDER = "{folder}"  # in an argument or a variable: the folder of `Launch.files`
KEY = "{key}"  # as the whole value of a variable: the key, or `NO_KEY`


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """A tool that can be connected, started, or both."""

    name: str
    title: str
    checked: str  # how its settings were checked, with the version
    is_started: bool = False  # whether they were checked by starting the tool
    roles: tuple[ModelRole, ...] = (ModelRole.CHAT,)
    needs_tools: bool = False  # calls tools: an agent
    context: int = CHAT_CONTEXT  # tokens that its own instructions need at least
    probes: tuple[ProbeKind, ...] = (ProbeKind.MODELS, ProbeKind.CHAT)
    program: str = ""  # its command
    install: tuple[tuple[str, ...], ...] = ()  # commands, the first that can run is offered
    settings: Callable[[Target, Places], tuple[FileSettings, ...]] | None = None
    environment: Callable[[Target], Mapping[str, str]] | None = None
    steps: Callable[[Target], tuple[str, ...]] | None = None  # what to do in its windows
    launch: Callable[[Target], Launch] | None = None
    launch_needs_settings: bool = False  # it has no variables and flags for this
    key_note: str = ""  # what to do if the server requires a key
