"""Transcription by a chat model that hears: a request for each piece of the sound."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.choices import stream_in_order
from localrun.server.core.media import check_hears
from localrun.server.core.request import CompletionRequest
from localrun.server.framing import sse_event
from localrun.server.transcription.formats import response_of
from localrun.server.transcription.instructions import messages_of
from localrun.server.transcription.sound import Sounds
from localrun.server.transcription.transcript import SoundTranscript

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.responses import Response

    from localrun.server.core.completions import Completions
    from localrun.server.core.request import Reply
    from localrun.server.jobs import Jobs
    from localrun.server.transcription.fields import TranscriptionCall
    from localrun.services.stored_model import StoredModel

NUM_TOGETHER = 4  # pieces that are answered at the same time
MAX_TOKENS = 1024  # of the text of a piece, unless the request or the recipe says another number


class Transcriber:
    """Transcribes sounds by the models of a server."""

    def __init__(
        self, completions: Completions, find_model: Callable[[str], StoredModel], jobs: Jobs
    ) -> None:
        self._completions = completions
        self._find_model = find_model
        self._sounds = Sounds(jobs)

    async def transcribe(self, call: TranscriptionCall, file: bytes) -> Response:
        """Return the response with the whole transcript.

        Raises:
            LocalrunError: the model does not hear, the sound cannot be read, or an answer fails.
        """
        async with self._answered(call, file) as (transcript, replies):
            async for place, reply in replies:
                transcript.add(place, reply)
        return response_of(call, transcript)

    async def stream(self, call: TranscriptionCall, file: bytes) -> AsyncGenerator[bytes, None]:
        """Yield OpenAI's events ``transcript.text.delta``, and ``transcript.text.done``.

        Raises:
            LocalrunError: as of `transcribe`.
        """
        async with self._answered(call, file) as (transcript, replies):
            async for place, reply in replies:
                if delta := transcript.add(place, reply):
                    yield sse_event({"type": "transcript.text.delta", "delta": delta})
        done = {"type": "transcript.text.done", "text": transcript.text}
        scores = {"logprobs": transcript.logprobs()} if call.scores else {}
        yield sse_event({**done, **scores, "usage": transcript.usage()})

    @contextlib.asynccontextmanager
    async def _answered(
        self, call: TranscriptionCall, file: bytes
    ) -> AsyncGenerator[tuple[SoundTranscript, AsyncGenerator[tuple[int, Reply], None]], None]:
        """Yield an empty transcript, and the events that fill it."""
        model = await asyncio.to_thread(self._find_model, call.model)
        check_hears(model)
        async with self._sounds.cut(file) as sound:
            requests = (_request(call, wav, model) for wav in sound.take_wavs())
            answers = stream_in_order(self._completions, requests, NUM_TOGETHER)
            async with contextlib.aclosing(answers) as replies:
                yield SoundTranscript(sound), replies


def _request(call: TranscriptionCall, wav: bytes, model: StoredModel) -> CompletionRequest:
    prompt = PromptSpec(
        messages=messages_of(call, wav, model),
        template_options={} if model.remote else {"enable_thinking": False},
    )
    generation = Generation(
        prompt=prompt,
        logprobs=0 if call.scores else None,
        returns_tokens=call.is_verbose,
        is_streamed=call.stream,
    )
    return CompletionRequest(
        model=call.model,
        generation=generation,
        sampling={"temperature": call.temperature},
        num_predict=call.num_predict,
        default_num_predict=MAX_TOKENS,
        num_ctx=call.num_ctx,
        keep_alive=call.keep_alive,
    )
