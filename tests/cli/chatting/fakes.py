"""Parts of a chat without terminal and server, and a chat of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from localrun.cli.chatting.chat import Chat
from localrun.cli.chatting.kept_chat import KeptChat
from localrun.cli.chatting.session import ChatSession, SessionSettings
from localrun.cli.chatting.transcript import ChatTranscript
from localrun.services.workspace import Workspace
from localrun.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from localrun.cli.chatting.prompt.composer import KeyChoice
    from localrun.client.api import LocalrunClient
    from localrun.errors import LocalrunError

JsonObject = dict[str, Any]
END: JsonObject = {"done": True, "prompt_eval_count": 30, "eval_count": 10}
Piece = JsonObject | BaseException


def pieces(*texts: str) -> list[Piece]:
    """Return the frames of an answer."""
    return [*({"message": {"content": text}, "done": False} for text in texts), END]


@dataclass
class FakeClient:
    """Client whose server gives the next of its answers to each request."""

    answers: list[list[Piece]] = field(default_factory=list)
    bodies: list[JsonObject] = field(default_factory=list)
    loads: list[JsonObject] = field(default_factory=list)
    context: int = 100
    load_error: LocalrunError | None = None

    def chat(self, body: JsonObject) -> Iterator[JsonObject]:
        self.bodies.append(body)
        for piece in self.answers.pop(0) if self.answers else pieces("Hello."):
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def load(self, body: JsonObject) -> Iterator[JsonObject]:
        self.loads.append(body)
        if self.load_error is not None:
            raise self.load_error
        yield {"status": "ready", "done": True}

    def states(self) -> list[JsonObject]:
        return [{"name": one["model"], "context": self.context} for one in self.loads]

    def num_tokens(self, model: str, text: str) -> int:
        assert model
        return len(text.split())

    def rendered(self, body: JsonObject) -> str:
        return "".join(f"<{one['role']}>{one['content']}" for one in body["messages"])


@dataclass
class FakeComposer:
    """Composer that reads what a test has typed."""

    typed: list[str | KeyboardInterrupt] = field(default_factory=list)
    edited: Callable[[str], str] = lambda text: text
    drafts: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def read(self, initial: str = "") -> str:
        self.drafts.append(initial)
        if not self.typed:
            raise EOFError
        typed = self.typed.pop(0)
        if isinstance(typed, KeyboardInterrupt):
            raise typed
        return typed

    def edit(self, text: str) -> str:
        return self.edited(text)

    def choose(self, question: str, choices: Sequence[KeyChoice]) -> str:
        assert question
        return self.keys.pop(0) if self.keys else choices[-1].key

    def answering(self, on_fold: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        assert callable(on_fold)
        return contextlib.nullcontext()

    def close(self) -> None:
        """Do nothing."""


@dataclass
class FakeChat:
    """A chat, and the fakes that it is made of."""

    chat: Chat
    client: FakeClient
    composer: FakeComposer

    @property
    def sent(self) -> list[tuple[str, str]]:
        """Return roles and texts of the last request."""
        return [(one["role"], one["content"]) for one in self.client.bodies[-1]["messages"]]

    @property
    def conversation(self) -> list[tuple[str, str]]:
        return [(one["role"], one["content"]) for one in self.chat.session.messages]


def fake_chat(folder: Path, **settings: Any) -> FakeChat:
    """Return a chat with guide, whose models are in a folder."""
    environ = {"LOCALRUN_MODELS": str(folder / "models"), "LOCALRUN_HOST": "127.0.0.1:1"}
    client, composer, transcript = FakeClient(), FakeComposer(), ChatTranscript(is_plain=True)
    chat = Chat(
        session=ChatSession(settings=SessionSettings(model="guide:latest", **settings)),
        composer=composer,
        transcript=transcript,
        kept=KeptChat(None, transcript.note),
        connect=lambda: cast("LocalrunClient", client),
        workspace=Workspace(load_settings(environ), environ),
    )
    return FakeChat(chat, client, composer)
