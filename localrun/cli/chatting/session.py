"""State of a chat: its model, the settings of its requests, and its messages.

A message is a dict of Ollama's ``/api/chat`` (role, content, thinking, tool_calls, tool_name,
images); other keys, such as ``is_stopped`` and ``attachments``, are for the terminal and the kept
chat, and are never sent. The system prompt is a setting, not a message. Messages of the model's
recipe are none of them: the server puts those before every conversation.

Knows neither terminal nor server. Invariant: `ChatSession.messages` has only complete turns, except
while an answer arrives; a message object never changes once another message follows it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from localrun.cli.chatting.attaching.request_media import without_oldest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from localrun.cli.serving.answer import ChatOptions

Message = dict[str, Any]
SENT = ("role", "content", "thinking", "tool_calls", "tool_call_id", "tool_name", "images")
WARNING_SHARE = 0.8  # of the context
KEPT_TYPES: dict[str, type | tuple[type, ...]] = {  # settings that a chat goes on with
    "system": str,
    "output_format": (str, dict),
    "think": (bool, str),
    "is_verbose": bool,
    "hides_thinking": bool,
    "wraps_words": bool,
}
SUMMARY_HEAD = "Summary of the conversation so far:\n"


class ToolUse(Protocol):
    """Tools of a chat: what the chat needs of them.

    `answer` runs the rounds of one turn: it calls ``ask`` with all messages of the request, which
    prints and returns the model's message, executes the calls that the user allows, and calls
    ``keep`` with every new message (of the model and of tools) as soon as it is complete.
    KeyboardInterrupt passes through; the messages until then have been kept.
    """

    @property
    def mode(self) -> str:
        """Return the mode of permissions in a word or two, for the toolbar."""

    def definitions(self) -> list[dict[str, Any]]:
        """Return the field ``tools`` of requests."""

    def answer(
        self,
        ask: Callable[[list[Message]], Message],
        messages: list[Message],
        keep: Callable[[Message], None],
    ) -> None:
        """Run rounds of answers and tool calls until the model calls no tool."""

    def next_mode(self) -> None:
        """Change to the next mode of permissions (Shift-Tab)."""

    def undo(self) -> str | None:
        """Undo the last edit of a file; return what was undone, None if there is none."""

    def describe(self) -> str:
        """Return the tools with a line for each, for ``/tools``."""

    def describe_skills(self) -> str:
        """Return the skills with a line for each, for ``/skills``."""

    def close(self) -> None:
        """End the servers of the tools."""


@dataclass(slots=True, kw_only=True)
class SessionSettings:
    """Settings of a chat that the user changes by commands; None: the model's own."""

    model: str
    adapters: tuple[str, ...] = ()  # after the model's name: "pirate@0.8"
    sampling: dict[str, Any] = field(default_factory=dict)
    system: str | None = None
    output_format: str | dict[str, Any] | None = None  # "json", or a JSON Schema
    think: bool | str | None = None
    keep_alive: str | None = None
    is_verbose: bool = False
    is_streamed: bool = True  # answers are printed as they arrive
    hides_thinking: bool = False
    wraps_words: bool = True
    keeps_history: bool = True
    compacts: bool = True

    @classmethod
    def from_options(cls, options: ChatOptions) -> SessionSettings:
        """Return the settings that the options of ``run`` state."""
        return cls(
            model=options.model,
            sampling=dict(options.sampling),
            system=options.system,
            output_format=options.output_format,
            think=options.think,
            keep_alive=options.keep_alive,
            is_verbose=options.verbose,
            is_streamed=options.stream,
        )

    def over(self, kept: Mapping[str, Any]) -> SessionSettings:
        """Return these settings, with those of a kept chat where these are the defaults.

        Kept settings of another type than expected are left out: the file is not ours alone.
        """
        default, own = asdict(SessionSettings(model="")), asdict(self)
        changes: dict[str, Any] = {}
        for name, types in KEPT_TYPES.items():
            value = kept.get(name)
            if own[name] == default[name] and isinstance(value, types):
                changes[name] = value
        kept_sampling = kept.get("sampling")
        if isinstance(kept_sampling, dict):
            changes["sampling"] = {**kept_sampling, **self.sampling}
        return replace(self, **changes)

    @property
    def request_model(self) -> str:
        """Return the name of the model with its adapters."""
        return "+".join((self.model, *self.adapters))

    def to_json(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults."""
        default = asdict(SessionSettings(model=""))
        return {name: value for name, value in asdict(self).items() if value != default[name]}


@dataclass(frozen=True, slots=True)
class ContextUse:
    """Tokens of the context that the last request and its answer took; 0 if not known."""

    used: int = 0
    total: int = 0

    @property
    def share(self) -> float:
        """Return the used part, between 0 and 1."""
        return min(1.0, self.used / self.total) if self.total else 0.0


@dataclass(slots=True, kw_only=True)
class ChatSession:
    """One conversation."""

    settings: SessionSettings
    messages: list[Message] = field(default_factory=list)
    failed: Message | None = None  # message of the user whose answer failed, for /retry
    context: ContextUse = ContextUse()
    figures: dict[str, Any] = field(default_factory=dict)  # final frame of the last answer

    def request_messages(self) -> list[Message]:
        """Return the messages of the next request; the system prompt is first.

        The oldest media are left out if all together are too large for a request.
        """
        system = self.settings.system
        head = [{"role": "system", "content": system}] if system else []
        return [*head, *without_oldest(sent_messages(self.messages))]

    def body(
        self, messages: Sequence[Message] | None = None, tools: Sequence[dict[str, Any]] = ()
    ) -> dict[str, Any]:
        """Return the body of ``/api/chat``; settings that are not set are left out."""
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.request_model,
            "messages": self.request_messages() if messages is None else list(messages),
            "options": settings.sampling,
        }
        optional = {
            "tools": list(tools) or None,
            "format": settings.output_format,
            "think": settings.think,
            "keep_alive": settings.keep_alive,
        }
        return body | {name: value for name, value in optional.items() if value is not None}

    def note_figures(self, figures: dict[str, Any]) -> None:
        """Take the token counts of an answer's final frame."""
        self.figures = figures
        used = figures.get("prompt_eval_count", 0) + figures.get("eval_count", 0)
        self.context = ContextUse(used, self.context.total)

    def clear(self) -> None:
        """Forget the conversation; the settings stay, also the system prompt."""
        self.messages = []
        self.failed = None
        self.figures = {}
        self.context = ContextUse(0, self.context.total)

    def last_user(self) -> int | None:
        """Return the index of the last message of the user, None if there is none."""
        return next(
            (index for index in reversed(range(len(self.messages))) if self._is_user(index)), None
        )

    def cut_last_turn(self) -> Message | None:
        """Remove the last message of the user and all after it; return that message."""
        index = self.last_user()
        if index is None:
            return None
        message = self.messages[index]
        self.messages = self.messages[:index]
        return message

    def last_answer(self) -> str | None:
        """Return the text of the last answer, None if there is none."""
        answers = (one for one in reversed(self.messages) if one["role"] == "assistant")
        return next((str(one["content"]) for one in answers if one.get("content")), None)

    def _is_user(self, index: int) -> bool:
        return bool(self.messages[index]["role"] == "user")


def sent_messages(messages: Sequence[Message]) -> list[Message]:
    """Return messages as the server gets them.

    A summary begins the message of the user that follows it: many chat templates refuse two
    messages of the user in a row.
    """
    sent: list[Message] = []
    for message in map(sent_message, messages):
        last = sent[-1] if sent else {}
        if last.get("role") == message["role"] == "user" and _is_summary(last):
            texts = (last["content"], message["content"])
            sent[-1] = {**message, "content": "\n\n".join(texts)}
        else:
            sent.append(message)
    return sent


def sent_message(message: Message) -> Message:
    """Return a message as the server gets it; a summary is a message of the user."""
    sent = {name: message[name] for name in SENT if message.get(name) or name in SENT[:2]}
    if message["role"] == "summary":
        return {"role": "user", "content": SUMMARY_HEAD + str(message["content"])}
    return sent


def _is_summary(message: Message) -> bool:
    return bool(message["content"].startswith(SUMMARY_HEAD))
