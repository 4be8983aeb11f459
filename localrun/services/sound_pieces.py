"""Job that cuts a sound into pieces for a transcription (``media/pieces.py``).

A child process decodes, so that a hostile file costs neither the server nor a model's process, and
writes each piece once it is decoded. The sound follows the order; each piece is a wav file in
base64:

    {"piece": base64, "start_s": 0.0, "end_s": 27.4}
    {"result": {"duration_s": 61.2}}
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATE = 16000  # of all encoders of speech that llama.cpp knows


def cut_sound(
    order: Mapping[str, Any], write: Callable[[dict[str, Any]], None], ffmpeg: str
) -> dict[str, Any]:
    """Write the pieces of the sound ``order["data"]``, and return its duration.

    ``ffmpeg`` is the program that reads other containers, "" if there is none.

    Raises:
        UsageError: it is no sound, damaged, or too long; the error begins with ``order["name"]``.
    """
    from localrun.media.pieces import cut, wav_of  # imports numpy
    from localrun.media.sounds import sound_blocks

    end_s = 0.0
    for piece in cut(sound_blocks(order["data"], order["name"], rate=RATE, ffmpeg=ffmpeg), RATE):
        text = base64.b64encode(wav_of(piece.samples, RATE)).decode()
        write({"piece": text, "start_s": piece.start_s, "end_s": piece.end_s})
        end_s = piece.end_s
    return {"duration_s": end_s}
