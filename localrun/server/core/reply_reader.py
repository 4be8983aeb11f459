"""Take the text of a reply apart as its request wants it.

The runner knows best how its model writes, and tells when the request starts; until
then the template's text is what there is to go by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.chat.profiles.profile import Profile
from localrun.chat.profiles.tools import Tools
from localrun.chat.profiles.wire import profile_from_json
from localrun.chat.stream_parser import StreamParser
from localrun.chat.tool_calls import CallArguments, CallBegun
from localrun.engine.params import FinishReason

if TYPE_CHECKING:
    from localrun.chat.stream_parser import Part
    from localrun.runner.messages import Started
    from localrun.server.core.request import CompletionRequest

PLAIN = Profile()


class ReplyReader:
    """The parser of one reply; a request that wants no calls gets text, one call the first."""

    def __init__(self, request: CompletionRequest, profile: Profile) -> None:
        generation = request.generation
        self._tools = Tools.of(generation.prompt.tools)
        self._wants_calls = generation.tool_choice != "none"
        self._profile = profile
        self._most_calls = None if generation.parallel_tool_calls else 1
        self._num_calls = 0
        self._keeps_thoughts = request.keeps_thoughts
        self._parser = StreamParser(self._wanted(profile), tools=self._tools)

    def start(self, started: Started) -> None:
        """Learn from the runner how the model writes, and what the prompt has opened."""
        profile = self._profile
        if profile is not PLAIN and started.profile:
            profile = profile_from_json(started.profile)
        self._parser = StreamParser(
            self._wanted(profile),
            started.prompt_tail,
            self._tools,
            keeps_thoughts=self._keeps_thoughts,
        )

    def push(self, text: str) -> list[Part]:
        """Take the next piece of the reply and return the parts that are certain now."""
        return self._allowed(self._parser.push(text))

    def finish(self, reason: FinishReason) -> list[Part]:
        """Return what was held back, at the end of the reply."""
        return self._allowed(self._parser.finish(is_cut=reason is FinishReason.LENGTH))

    def _wanted(self, profile: Profile) -> Profile:
        return profile if self._wants_calls else replace(profile, tool_call=None)

    def _allowed(self, parts: list[Part]) -> list[Part]:
        """Leave out calls beyond the number that may be; not all families can be kept from them."""
        if self._most_calls is None:
            return parts
        return [part for part in parts if self._allows(part)]

    def _allows(self, part: Part) -> bool:
        self._num_calls += isinstance(part, CallBegun)
        is_call = isinstance(part, CallBegun | CallArguments)
        return not is_call or self._most_calls is None or self._num_calls <= self._most_calls
