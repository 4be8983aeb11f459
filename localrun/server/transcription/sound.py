"""Sound of a transcription, cut into pieces by a child process (``services/sound_pieces.py``)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, UsageError

if TYPE_CHECKING:
    from localrun.server.jobs import Jobs

NAME = "file"  # of the form's field, in errors
LONGEST_WORK_S = 120.0


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A part of the sound as a wav file."""

    start_s: float
    end_s: float
    wav: bytes


@dataclass(frozen=True, slots=True)
class Sound:
    """A decoded sound: at least one piece."""

    duration_s: float
    pieces: tuple[SoundPiece, ...]


async def cut_in_child(data: bytes, jobs: Jobs) -> Sound:
    """Return the pieces of a sound file; the child ends if the caller is cancelled.

    Raises:
        UsageError: it is no sound, damaged, too long, or took too long to decode.
        OverloadedError: too many sounds are being cut already.
    """
    pieces: list[SoundPiece] = []
    order = {"kind": "cut sound", "name": NAME}
    try:
        async with (
            asyncio.timeout(LONGEST_WORK_S),
            contextlib.aclosing(jobs.run(order, data)) as messages,
        ):
            async for message in messages:
                if "result" in message:
                    return Sound(message["result"]["duration_s"], tuple(pieces))
                wav = base64.b64decode(message["piece"])
                pieces.append(SoundPiece(message["start_s"], message["end_s"], wav))
    except UsageError as error:
        raise UsageError(error.message, hint=error.hint, param=NAME) from error
    except TimeoutError as error:
        problem = f"{NAME} took more than {LONGEST_WORK_S:.0f} s to decode"
        raise UsageError(problem, hint="cut it into parts", param=NAME) from error
    raise LocalrunError("the sound's process ended without a result, see the server's log")
