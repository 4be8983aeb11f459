"""Source of completions: the commands of a chat, the kinds of their arguments, and values.

The chat implements `CompletionSource`; the line editor calls it in a thread of its own, so a slow
folder or server never blocks a key. Paths are completed by the editor itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class ArgumentKind(StrEnum):
    """What an argument of a command names."""

    MODEL = "model"
    PARAMETER = "parameter"
    CHAT = "chat"
    ADAPTER = "adapter"
    PATH = "path"  # a file or a folder
    TEXT = "text"  # no completion


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion of a word, and what it means."""

    text: str
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandForm:
    """A command as it is typed: ``name`` may have several words, such as ``/set parameter``.

    Each argument is a kind or a tuple of fixed words. If ``repeats``, the last argument may be
    given several times.
    """

    name: str
    description: str = ""
    arguments: tuple[ArgumentKind | tuple[str, ...], ...] = ()
    repeats: bool = False


class CompletionSource(Protocol):
    """What the chat offers for completion; called in any thread."""

    def commands(self) -> Sequence[CommandForm]:
        """Return all commands."""

    def values(self, kind: ArgumentKind) -> Sequence[Candidate]:
        """Return the values of an argument, except of PATH and TEXT; may block."""
