"""Sounds of transcriptions, cut into pieces by child processes (``services/sound_pieces.py``).

The wav bytes of a piece are dropped when its request has been made. Invariant: `MAX_OPEN` sounds
are open at most, their waiting pieces have `MAX_OPEN_BYTES` together, and `MAX_CUT` are decoded at
once; more of these wait.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, OverloadedError, UsageError
from localrun.server.middleware.bodies import MAX_OPEN_BYTES, RETRY_S, OpenBodies

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from localrun.server.jobs import Jobs

NAME = "file"  # of the form's field, in errors
LONGEST_WORK_S = 120.0
MAX_OPEN = 64  # transcriptions, decoded or answered
MAX_CUT = 4  # at once: each takes a processor, and by ffmpeg some hundred MiB


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A part of the sound, in seconds."""

    start_s: float
    end_s: float


class Sound:
    """A decoded sound: at least one piece, and the wav files of those that wait."""

    def __init__(self, open_bytes: OpenBodies) -> None:
        self.duration_s = 0.0
        self.pieces: list[SoundPiece] = []
        self._open_bytes = open_bytes
        self._wavs: deque[bytes] = deque()

    def add(self, piece: SoundPiece, wav: bytes) -> None:
        """Add a piece behind the others.

        Raises:
            OverloadedError: the pieces of all sounds are too large together.
        """
        self._open_bytes.add(len(wav))
        self.pieces.append(piece)
        self._wavs.append(wav)

    def take_wavs(self) -> Iterator[bytes]:
        """Yield the wav file of each piece, which then waits no more."""
        while self._wavs:
            wav = self._wavs.popleft()
            self._open_bytes.remove(len(wav))
            yield wav

    def close(self) -> None:
        """Drop the pieces that wait."""
        for _ in self.take_wavs():
            pass


class Sounds:
    """The sounds of one server's transcriptions; used on its event loop."""

    def __init__(self, jobs: Jobs, most_bytes: int = MAX_OPEN_BYTES) -> None:
        self._jobs = jobs
        self._open_bytes = OpenBodies(most_bytes, "decoded sounds")
        self._num_open = 0
        self._cutting = asyncio.Semaphore(MAX_CUT)

    @contextlib.asynccontextmanager
    async def cut(self, data: bytes) -> AsyncGenerator[Sound, None]:
        """Yield a sound file in pieces; its child process ends if the caller is cancelled.

        Raises:
            UsageError: it is no sound, damaged, too long, or took too long to decode.
            OverloadedError: too many sounds are open, or all together are too large.
        """
        if self._num_open >= MAX_OPEN:
            raise OverloadedError(f"{MAX_OPEN} sounds are read already", retry_after_s=RETRY_S)
        sound = Sound(self._open_bytes)
        self._num_open += 1
        try:
            async with self._cutting:
                await self._cut(data, sound)
            yield sound
        finally:
            self._num_open -= 1
            sound.close()

    async def _cut(self, data: bytes, sound: Sound) -> None:
        order = {"kind": "cut sound", "name": NAME}
        try:
            async with (
                asyncio.timeout(LONGEST_WORK_S),
                contextlib.aclosing(self._jobs.run(order, data)) as messages,
            ):
                async for message in messages:
                    if "result" in message:
                        sound.duration_s = message["result"]["duration_s"]
                        return
                    piece = SoundPiece(message["start_s"], message["end_s"])
                    sound.add(piece, base64.b64decode(message["piece"]))
        except UsageError as error:
            raise UsageError(error.message, hint=error.hint, param=NAME) from error
        except TimeoutError as error:
            problem = f"{NAME} took more than {LONGEST_WORK_S:.0f} s to decode"
            raise UsageError(problem, hint="cut it into parts", param=NAME) from error
        raise LocalrunError("the sound's process ended without a result, see the server's log")
