"""Transcripts of requests in the server's log, if its owner enables them (``--log-prompts``).

No other code logs prompts or answers. A transcript is one line of JSON, so no text of a client can
imitate a log line.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from localrun.chat.media_marks import numbered
from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallCollector

if TYPE_CHECKING:
    from localrun.server.core.request import CompletionRequest, Reply

_log = logging.getLogger(__name__)


class Transcript:
    """A request and its answer."""

    def __init__(self, request: CompletionRequest) -> None:
        self._request = request
        self._answer: list[str] = []
        self._thought: list[str] = []
        self._collector = CallCollector()
        self._calls: list[str] = []

    def add(self, part: Reply) -> None:
        """Add a part of the answer."""
        call = self._collector.add(part)
        if call is not None:
            self._calls.append(f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})")
        elif isinstance(part, TextPart):
            self._answer.append(part.text)
        elif isinstance(part, ReasoningPart):
            self._thought.append(part.text)

    def log(self, end: str) -> None:
        """Log the transcript."""
        prompt = self._request.generation.prompt
        transcript = {
            "model": self._request.model,
            "asked": prompt.text if prompt.messages is None else numbered(prompt.messages),
            "thought": "".join(self._thought),
            "answer": "".join(self._answer),
            "calls": self._calls,
            "end": end,
        }
        _log.info("%s", json.dumps({key: value for key, value in transcript.items() if value}))
