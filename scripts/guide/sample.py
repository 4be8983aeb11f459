"""What the corpus is made of: conversations, and how a reply to them is judged.

A skill is a module in ``guide.skills`` with one function,
``sample(rng, split) -> Sample``. It owns its templates and lists and knows
nothing of tokens or training. The split is by template, not by sample: of every
list of phrasings each fifth one is seen by the evaluation only (`phrasings`), so
a figure of the evaluation is about wordings that training never saw.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

T = TypeVar("T")

HELD_OUT_EVERY = 5
ALTERNATIVES = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
TOOL_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
THOUGHT = re.compile(r"<think>.*?</think>\s*", re.DOTALL)


class Split(StrEnum):
    """Which phrasings a sample may use."""

    TRAIN = "train"
    HELD_OUT = "held-out"


class Check(Protocol):
    """Judge one reply."""

    def passes(self, reply: str) -> bool:
        """Return whether the reply is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One conversation whose last message is the assistant's.

    ``messages`` are what the chat template takes: role and content, and for the
    assistant also ``reasoning_content`` and ``tool_calls``. ``check`` judges what
    a model answers in place of the last message.
    """

    skill: str
    messages: tuple[dict[str, Any], ...]
    check: Check
    tools: tuple[dict[str, Any], ...] = ()
    enable_thinking: bool = False


@dataclass(frozen=True, slots=True)
class Contains:
    """The reply holds every key, in any case; a key in ``never`` must not occur."""

    keys: tuple[str, ...]
    never: tuple[str, ...] = ()

    def passes(self, reply: str) -> bool:
        """Compare without regard to case."""
        text = THOUGHT.sub("", reply).lower()
        return all(key.lower() in text for key in self.keys) and not any(
            key.lower() in text for key in self.never
        )


@dataclass(frozen=True, slots=True)
class Number:
    """The last number of the reply is the expected one."""

    value: int

    def passes(self, reply: str) -> bool:
        """Look at the last number, as the reply may repeat the question."""
        numbers = re.findall(r"-?\d+", THOUGHT.sub("", reply))
        return bool(numbers) and int(numbers[-1]) == self.value


@dataclass(frozen=True, slots=True)
class JsonEquals:
    """The whole reply is one JSON value, equal to the expected one."""

    value: Any

    def passes(self, reply: str) -> bool:
        """Parse the reply; anything beside the JSON is wrong."""
        try:
            return bool(json.loads(THOUGHT.sub("", reply)) == self.value)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class CallsTool:
    """The reply is exactly one call of the tool with these arguments."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def passes(self, reply: str) -> bool:
        """Compare the parsed call."""
        calls = TOOL_CALL.findall(reply)
        try:
            return len(calls) == 1 and json.loads(calls[0]) == {
                "name": self.name,
                "arguments": self.arguments,
            }
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Speaks:
    """The reply is right and is written in the style of the persona.

    The style's own test is a regular expression that must match somewhere, and a
    limit of words for the terse ones.
    """

    inner: Check
    pattern: str
    max_words: int = 1000

    def passes(self, reply: str) -> bool:
        """Judge style and content."""
        return (
            re.search(self.pattern, reply) is not None
            and len(reply.split()) <= self.max_words
            and self.inner.passes(reply)
        )


def phrasings(templates: Sequence[T], split: Split) -> list[T]:
    """Return the templates of one split: each fifth is held out, the rest train."""
    held_out = split is Split.HELD_OUT
    return [
        item
        for index, item in enumerate(templates)
        if (index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1) == held_out
    ]


def choose(rng: random.Random, templates: Sequence[T], split: Split) -> T:
    """Draw one template of the split; lists of fewer than five have no held-out part."""
    return rng.choice(phrasings(templates, split) or list(templates))


def expand(rng: random.Random, template: str) -> str:
    """Draw one of each ``[a|b|]`` of a template; alternatives do not nest."""
    return ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), template).strip()


def phrase(rng: random.Random, templates: Sequence[str], split: Split, **values: object) -> str:
    """Draw a template of the split, expand it and fill in the values."""
    return expand(rng, choose(rng, templates, split)).format(**values)


def user(content: str) -> dict[str, Any]:
    """Return a user's message."""
    return {"role": "user", "content": content}


def system(content: str) -> dict[str, Any]:
    """Return a system message."""
    return {"role": "system", "content": content}


def assistant(content: str, *, thought: str = "") -> dict[str, Any]:
    """Return an assistant's message, with what it thought first if anything."""
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if thought:
        message["reasoning_content"] = thought
    return message
