"""A text or a thought while it comes: an item of one part.

output_item.added, content_part.added, output_text.delta*, output_text.done,
content_part.done, output_item.done
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.openai.responses.blocks import IN_PROGRESS, added, done
from localrun.server.openai.responses.items import new_id, sealed
from localrun.server.scores import openai_score

if TYPE_CHECKING:
    from localrun.runner.messages import Score
    from localrun.server.parsing.fields import JsonObject


@dataclass(frozen=True, slots=True)
class _Form:
    """What the events of something said are called."""

    part: str  # the type of the part
    text: str  # before .delta and .done
    whole: str  # before .added and .done
    index: str


TEXT = _Form("output_text", "response.output_text", "response.content_part", "content_index")
THOUGHT = _Form(
    "reasoning_text", "response.reasoning_text", "response.content_part", "content_index"
)
SUMMARY = _Form(
    "summary_text",
    "response.reasoning_summary_text",
    "response.reasoning_summary_part",
    "summary_index",
)


class _Said(ABC):
    """A text or a thought: an item of one part."""

    def __init__(self, form: _Form, kind: str) -> None:
        self._form = form
        self._id = new_id(kind)
        self._pieces: list[str] = []
        self._status = IN_PROGRESS
        self._has_part = False

    def begin(self) -> list[JsonObject]:
        """Return the events that open it."""
        first = added(self.item())
        self._has_part = True
        return [first, self._event(f"{self._form.whole}.added", part=self._part())]

    def push(self, text: str) -> list[JsonObject]:
        """Take a piece; return the event that tells it."""
        self._pieces.append(text)
        return [self._event(f"{self._form.text}.delta", delta=text)]

    def end(self, status: str) -> list[JsonObject]:
        """Return the events that close it."""
        self._status = status
        return [
            self._event(f"{self._form.text}.done", text="".join(self._pieces)),
            self._event(f"{self._form.whole}.done", part=self._part()),
            done(self.item()),
        ]

    @abstractmethod
    def item(self) -> JsonObject:
        """Return the item as far as it is known."""

    def _parts(self) -> list[JsonObject]:
        return [self._part()] if self._has_part else []

    def _part(self) -> JsonObject:
        return {"type": self._form.part, "text": "".join(self._pieces)}

    def _event(self, kind: str, **fields: object) -> JsonObject:
        return {"type": kind, "item_id": self._id, self._form.index: 0, **fields}


class MessageItem(_Said):
    """What the model says to the user."""

    def __init__(self) -> None:
        super().__init__(TEXT, "message")
        self._scores: list[JsonObject] = []
        self._num_told = 0  # scores that an event has told

    def score(self, scores: list[Score]) -> None:
        """Take how likely the tokens of the next piece were."""
        self._scores += map(openai_score, scores)

    def item(self) -> JsonObject:
        """Return the item as far as it is known."""
        return {
            "type": "message",
            "id": self._id,
            "status": self._status,
            "role": "assistant",
            "content": self._parts(),
        }

    def _part(self) -> JsonObject:
        return {**super()._part(), "annotations": [], "logprobs": list(self._scores)}

    def _event(self, kind: str, **fields: object) -> JsonObject:
        event = super()._event(kind, **fields)
        if "delta" in fields:
            event["logprobs"] = self._scores[self._num_told :]
            self._num_told = len(self._scores)
        elif "text" in fields:
            event["logprobs"] = list(self._scores)
        return event


class ReasoningItem(_Said):
    """What the model thinks, told as it is or as its own summary."""

    def __init__(self, *, summarizes: bool, seals: bool) -> None:
        super().__init__(SUMMARY if summarizes else THOUGHT, "reasoning")
        self._seals = seals

    def item(self) -> JsonObject:
        """Return the item as far as it is known."""
        is_summary = self._form is SUMMARY
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
