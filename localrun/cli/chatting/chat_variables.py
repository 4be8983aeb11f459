"""Variables of the environment that a chat reads.

LOCALRUN_NOHISTORY    1: typed messages are not written to the history
LOCALRUN_NOSAVE       1: chats are not kept
LOCALRUN_COMPACT_AT   share of the context at which older turns are compacted: 80 or 80%
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.chatting.session import WARNING_SHARE
from localrun.conversations.location import keeps_chats
from localrun.errors import UsageError
from localrun.variables import read_switch

if TYPE_CHECKING:
    from collections.abc import Mapping

PERCENT = re.compile(r"(\d{1,3}) ?%?", re.ASCII)
LEAST, MOST = 20, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatVariables:
    """Values of the variables."""

    keeps_history: bool = True
    keeps_chats: bool = True
    compact_at: float = WARNING_SHARE


def read_chat_variables(environ: Mapping[str, str]) -> ChatVariables:
    """Return the values.

    Raises:
        UsageError: a variable is malformed; the error names it.
    """
    return ChatVariables(
        keeps_history=not read_switch(environ, "LOCALRUN_NOHISTORY"),
        keeps_chats=keeps_chats(environ),
        compact_at=_share(environ.get("LOCALRUN_COMPACT_AT", "").strip()),
    )


def _share(text: str) -> float:
    if not text:
        return WARNING_SHARE
    match = PERCENT.fullmatch(text)
    percent = int(match[1]) if match else 0
    if not LEAST <= percent <= MOST:
        raise UsageError(
            f"LOCALRUN_COMPACT_AT is not a percentage from {LEAST} to {MOST}: {text}",
            hint="LOCALRUN_COMPACT_AT=80",
        )
    return percent / 100
