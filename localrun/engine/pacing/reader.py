"""Reader of a streamed answer: how far the answer is ahead of a steady reading speed.

    tokens    | read ..... | ahead ..... | not generated yet
    time      first token  now           read_until

Times are seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class AnswerReader:
    """Reader of one answer, who waits if the next token comes late."""

    token_s: float  # time to read a token
    read_until: float = 0.0  # when all tokens that were received are read; 0 = none yet
    waited_s: float = 0.0  # for tokens behind the first, in total

    def receive(self, now: float) -> None:
        """Receive the next token."""
        if self.read_until:
            self.waited_s += max(0.0, now - self.read_until)
        self.read_until = max(self.read_until, now) + self.token_s

    def lead_s(self, now: float) -> float:
        """Return for how long the received tokens last; negative if the reader waits."""
        return self.read_until - now
