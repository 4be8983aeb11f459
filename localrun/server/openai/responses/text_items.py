"""Output items of text and of reasoning, with one part each.

Events:

output_item.added, content_part.added, output_text.delta*, output_text.done,
content_part.done, output_item.done
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.openai.responses.items import new_id, sealed
from localrun.server.openai.responses.output_items import IN_PROGRESS, added, done
from localrun.server.reply_fields import token_logprob

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject, Score


@dataclass(frozen=True, slots=True)
class _EventNames:
    """Names in the events of an item."""

    part: str  # type of the part
    text: str  # prefix of .delta and .done
    whole: str  # prefix of .added and .done
    index: str  # field


TEXT = _EventNames("output_text", "response.output_text", "response.content_part", "content_index")
THOUGHT = _EventNames(
    "reasoning_text", "response.reasoning_text", "response.content_part", "content_index"
)
SUMMARY = _EventNames(
    "summary_text",
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary_index",
)


class _OnePartItem(ABC):
    """Item with one part."""

    def __init__(self, names: _EventNames, kind: str) -> None:
        self._names = names
        self._id = new_id(kind)
        self._pieces: list[str] = []
        self._status = IN_PROGRESS
        self._has_part = False

    def begin(self) -> list[JsonObject]:
        """Return the first events."""
        first = added(self.item())
        self._has_part = True
        return [first, self._event(f"{self._names.whole}.added", part=self._part())]

    def push(self, text: str) -> list[JsonObject]:
        """Add a piece of text; return its event."""
        self._pieces.append(text)
        return [self._event(f"{self._names.text}.delta", delta=text)]

    def end(self, status: str) -> list[JsonObject]:
        """Return the last events."""
        self._status = status
        return [
            self._event(f"{self._names.text}.done", text="".join(self._pieces)),
            self._event(f"{self._names.whole}.done", part=self._part()),
            done(self.item()),
        ]

    @abstractmethod
    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""

    def _parts(self) -> list[JsonObject]:
        return [self._part()] if self._has_part else []

    def _part(self) -> JsonObject:
        return {"type": self._names.part, "text": "".join(self._pieces)}

    def _event(self, kind: str, **fields: object) -> JsonObject:
        return {"type": kind, "item_id": self._id, self._names.index: 0, **fields}


class MessageItem(_OnePartItem):
    """Text of the answer, with log probabilities."""

    def __init__(self) -> None:
        super().__init__(TEXT, "message")
        self._logprobs: list[JsonObject] = []
        self._num_sent = 0  # log probabilities in events

    def add_scores(self, scores: list[Score]) -> None:
        """Add the log probabilities of the tokens of the next piece."""
        self._logprobs += map(token_logprob, scores)

    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""
        return {
            "type": "message",
            "id": self._id,
            "status": self._status,
            "role": "assistant",
            "content": self._parts(),
        }

    def _part(self) -> JsonObject:
        return {**super()._part(), "annotations": [], "logprobs": list(self._logprobs)}

    def _event(self, kind: str, **fields: object) -> JsonObject:
        event = super()._event(kind, **fields)
        if "delta" in fields:
            event["logprobs"] = self._logprobs[self._num_sent :]
            self._num_sent = len(self._logprobs)
        elif "text" in fields:
            event["logprobs"] = list(self._logprobs)
        return event


class ReasoningItem(_OnePartItem):
    """Reasoning, sent as text or as its own summary."""

    def __init__(self, *, summarizes: bool, seals: bool) -> None:
        super().__init__(SUMMARY if summarizes else THOUGHT, "reasoning")
        self._seals = seals

    def item(self) -> JsonObject:
        """Return the item as far as it is generated."""
        is_summary = self._names is SUMMARY
        item: JsonObject = {
            "type": "reasoning",
            "id": self._id,
            "summary": self._parts() if is_summary else [],
        }
        if not is_summary:
            item["content"] = self._parts()
        if self._seals and self._pieces:
            item["encrypted_content"] = sealed("".join(self._pieces))
        return item
