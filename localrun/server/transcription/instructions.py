"""Instructions by which a chat model that hears transcribes: what stands before the sound.

The words are those of llama.cpp's server, which models answer well. OpenAI's ``prompt`` is
context, such as names, so it is added and does not replace the instruction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.chat.media_marks import joined

if TYPE_CHECKING:
    from localrun.server.transcription.fields import TranscriptionCall
    from localrun.services.stored_model import StoredModel

TRANSCRIBE = "Transcribe audio to text"
TRANSLATE = "Translate audio to English text"
LFM = "lfm2"  # its system prompt says what to do with a sound
LFM_SYSTEM = {"role": "system", "content": "Perform ASR."}


def messages_of(
    call: TranscriptionCall, wav: bytes, model: StoredModel
) -> tuple[dict[str, Any], ...]:
    """Return the conversation that asks for the text of a wav file."""
    sound = {"expected": "sound", "place": "file", "data": wav}
    if model.details.family.startswith(LFM) and not (call.translates or call.prompt):
        return LFM_SYSTEM, {"role": "user", **joined([sound], "")}
    return ({"role": "user", **joined([_instruction(call), sound], "")},)


def _instruction(call: TranscriptionCall) -> str:
    if call.translates:
        text = TRANSLATE
    else:
        text = TRANSCRIBE + (f" (language: {call.language})" if call.language else "")
    return f"{text}\nContext: {call.prompt}\n" if call.prompt else text
