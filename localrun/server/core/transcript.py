"""Prompts and answers in the server's log, where its owner asks for that (``--log-prompts``).

Nothing else writes them there. A line is JSON, so no text of a client looks like a line.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from localrun.chat.stream_parser import ReasoningPart, TextPart
from localrun.chat.tool_calls import CallCollector

if TYPE_CHECKING:
    from localrun.server.core.request import CompletionRequest, Reply

_log = logging.getLogger(__name__)


class Transcript:
    """One request and what is answered."""

    def __init__(self, request: CompletionRequest) -> None:
        self._request = request
        self._answer: list[str] = []
        self._thought: list[str] = []
        self._collector = CallCollector()
        self._calls: list[str] = []

    def add(self, part: Reply) -> None:
        """Take a part of the answer."""
        call = self._collector.add(part)
        if call is not None:
            self._calls.append(f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})")
        elif isinstance(part, TextPart):
            self._answer.append(part.text)
        elif isinstance(part, ReasoningPart):
            self._thought.append(part.text)

    def log(self, end: str) -> None:
        """Leave the line."""
        prompt = self._request.generation.prompt
        told = {
            "model": self._request.model,
            "asked": prompt.text if prompt.messages is None else prompt.messages,
            "thought": "".join(self._thought),
            "answer": "".join(self._answer),
            "calls": self._calls,
            "end": end,
        }
        _log.info("%s", json.dumps({key: value for key, value in told.items() if value}))
