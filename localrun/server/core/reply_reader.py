"""Parser of one reply, with what its request allows: thoughts, calls, one call.

The runner finds out how its model writes (its profile), and reports that with `Started`. Reads text
and knows no API.
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

PLAIN = Profile()  # of a text that continues a prompt: nothing in it is a thought or a call


class ReplyReader:
    """The parser of one reply; its parts are text, thoughts and calls."""

    def __init__(self, request: CompletionRequest) -> None:
        generation = request.generation
        self._is_chat = generation.prompt.messages is not None
        self._tools = Tools.of(generation.prompt.tools)
        self._wants_calls = generation.tool_choice != "none"
        self._most_calls = None if generation.parallel_tool_calls else 1
        self._num_calls = 0
        self._keeps_thoughts = request.keeps_thoughts
        self._parser = StreamParser(PLAIN)

    def start(self, started: Started) -> None:
        """Begin to parse as the model writes, from the regions that the prompt has opened."""
        profile = PLAIN
        if self._is_chat and started.profile:
            profile = profile_from_json(started.profile)
        self._parser = StreamParser(
            profile if self._wants_calls else replace(profile, tool_call=None),
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

    def _allowed(self, parts: list[Part]) -> list[Part]:
        """Leave out calls beyond the number that may be; not all families can be kept from them."""
        if self._most_calls is None:
            return parts
        return [part for part in parts if self._allows(part)]

    def _allows(self, part: Part) -> bool:
        self._num_calls += isinstance(part, CallBegun)
        is_call = isinstance(part, CallBegun | CallArguments)
        return not is_call or self._most_calls is None or self._num_calls <= self._most_calls
