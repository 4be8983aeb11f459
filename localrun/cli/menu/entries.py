"""Entries of the menu of a bare ``localrun``: what each shows, and which command it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.fit import fit_note
from localrun.cli.output import human_bytes, model_size
from localrun.names.ref import DEFAULT_TAG
from localrun.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.conversations.message import ChatSummary
    from localrun.registry.catalog import Catalog
    from localrun.services.stored_model import ModelSummary

NUM_RECOMMENDED = 5
# families that answer well for their size; of each, the largest size is proposed that leaves memory
# to its context and to other programs, and that a machine with so much memory runs at a usable rate
RECOMMENDED_SHARE = 0.35  # of the memory
RECOMMENDED = ("qwen3", "gemma3", "llama3.2", "phi4", "mistral-small", "qwen2.5-coder")


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuEntry:
    """One line of the menu."""

    label: str
    detail: str = ""
    arguments: tuple[str, ...]  # of the command

    @property
    def line(self) -> str:
        """Return the text of the line, without control characters."""
        return plain(f"{self.label}   {self.detail}".rstrip())


@dataclass(frozen=True, slots=True, kw_only=True)
class MenuContent:
    """What the entries are made of."""

    models: Sequence[ModelSummary]
    catalog: Catalog
    memory_bytes: int
    last_model: str | None = None
    last_chat: ChatSummary | None = None


def menu_entries(content: MenuContent) -> list[MenuEntry]:
    """Return the entries: the last chat, the models here, others to pull, editors, help."""
    return [*_last_chat(content), *_models(content), *_recommended(content), *OTHERS]


def matching(entries: Sequence[MenuEntry], text: str) -> list[MenuEntry]:
    """Return the entries whose line has every word of a text."""
    words = text.lower().split()
    return [entry for entry in entries if all(word in entry.line.lower() for word in words)]


OTHERS = (
    MenuEntry(label="Connect an editor or an agent", arguments=("help", "editors")),
    MenuEntry(label="Help", arguments=("help",)),
)


def _last_chat(content: MenuContent) -> Iterator[MenuEntry]:
    if content.last_chat is not None:
        chat = content.last_chat
        yield MenuEntry(
            label=f"Go on with: {chat.title or chat.id}",
            detail=chat.model.removesuffix(f":{DEFAULT_TAG}"),
            arguments=("run", "--chat", chat.id),
        )


def _models(content: MenuContent) -> Iterator[MenuEntry]:
    """Yield the models that answer, the one of the last chat first."""
    answering = [one for one in content.models if "completion" in one.details.capabilities]
    for model in sorted(answering, key=lambda one: one.name != content.last_model):
        details = model.details
        parts = (
            details.parameter_size,
            details.quantization_level,
            model_size(model),
            "" if model.remote else fit_note(model.size_bytes, content.memory_bytes),
        )
        name = model.name.removesuffix(f":{DEFAULT_TAG}")
        yield MenuEntry(
            label=f"Chat with {name}",
            detail=", ".join(part for part in parts if part),
            arguments=("run", name),
        )


def _recommended(content: MenuContent) -> Iterator[MenuEntry]:
    """Yield models of the catalog that are not here, of each family one."""
    most_bytes = content.memory_bytes * RECOMMENDED_SHARE
    here = {model.name for model in content.models}
    num_left = NUM_RECOMMENDED
    for family in RECOMMENDED:
        sizes = content.catalog.sizes(family)
        fitting = [entry for entry in sizes if entry.size_bytes <= most_bytes]
        name = f"{fitting[-1].name}:{fitting[-1].tag}" if fitting else ""
        if not name or name in here or not num_left:
            continue
        num_left -= 1
        yield MenuEntry(
            label=f"Pull {name}",
            detail=f"{human_bytes(fitting[-1].size_bytes)}, {fitting[-1].about}",
            arguments=("run", name),
        )
