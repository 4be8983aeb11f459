"""Tokens that the answers of a batch report, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject

INPUT = ("prompt_tokens", "input_tokens")
OUTPUT = ("completion_tokens", "output_tokens")
INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Numbers of tokens; cached ones are part of the input, reasoning is part of the output."""

    input: int = 0
    cached: int = 0
    output: int = 0
    reasoning: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        """Return the sum."""
        return TokenUsage(
            input=self.input + other.input,
            cached=self.cached + other.cached,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )

    @classmethod
    def of_answer(cls, body: object) -> TokenUsage:
        """Return what the body of a response reports, by the names of either API."""
        usage = _object(body, ("usage",))
        return cls(
            input=_number(usage, INPUT),
            cached=_number(_object(usage, INPUT_DETAILS), ("cached_tokens",)),
            output=_number(usage, OUTPUT),
            reasoning=_number(_object(usage, OUTPUT_DETAILS), ("reasoning_tokens",)),
        )

    def to_json(self) -> JsonObject:
        """Return OpenAI's usage object of a batch."""
        return {
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        }


def _object(fields: object, names: tuple[str, ...]) -> JsonObject:
    """Return the first member that is an object, empty if there is none."""
    if not isinstance(fields, dict):
        return {}
    return next((fields[name] for name in names if isinstance(fields.get(name), dict)), {})


def _number(fields: JsonObject, names: tuple[str, ...]) -> int:
    return next((fields[name] for name in names if isinstance(fields.get(name), int)), 0)
