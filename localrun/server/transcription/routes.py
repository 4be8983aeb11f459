"""Routes ``/v1/audio/transcriptions`` and ``/v1/audio/translations`` of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from localrun.server.errors import CLIENT_LEFT
from localrun.server.parsing.requests import unless_disconnected
from localrun.server.routing.routes import Routes
from localrun.server.streaming import streamed
from localrun.server.transcription.fields import TYPED, parse_transcription, parse_translation
from localrun.server.transcription.form import read_form

if TYPE_CHECKING:
    from localrun.server.transcription.transcribing import Transcriber


def transcription_routes(transcriber: Transcriber) -> Routes:
    """Return the router."""
    router = Routes("/v1/audio")

    @router.post("/transcriptions")
    async def transcribe(request: Request) -> Response:
        form = await read_form(request, TYPED)
        call = parse_transcription(form.fields)
        if call.stream:
            return await streamed(request, transcriber.stream(call, form.file))
        work = transcriber.transcribe(call, form.file)
        return await unless_disconnected(request, work) or Response(status_code=CLIENT_LEFT)

    @router.post("/translations")
    async def translate(request: Request) -> Response:
        form = await read_form(request, TYPED)
        work = transcriber.transcribe(parse_translation(form.fields), form.file)
        return await unless_disconnected(request, work) or Response(status_code=CLIENT_LEFT)

    return router
