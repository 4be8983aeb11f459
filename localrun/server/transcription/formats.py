"""Response formats of a transcript: json, text, srt, verbose_json and vtt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from localrun.runner.messages import JsonObject
    from localrun.server.transcription.fields import TranscriptionCall
    from localrun.server.transcription.transcript import Segment, SoundTranscript

UNKNOWN_LANGUAGE = "unknown"  # a chat model does not tell which it heard
VTT = "text/vtt"


def response_of(call: TranscriptionCall, transcript: SoundTranscript) -> Response:
    """Return the response of a complete transcript."""
    form = call.response_format
    if form == "text":
        return PlainTextResponse(f"{transcript.text}\n")
    if form == "srt":
        return PlainTextResponse(srt(transcript))
    if form == "vtt":
        return Response(vtt(transcript), media_type=VTT)
    return JSONResponse(verbose(call, transcript) if call.is_verbose else plain(call, transcript))


def plain(call: TranscriptionCall, transcript: SoundTranscript) -> JsonObject:
    """Return the object of the format json."""
    body: JsonObject = {"text": transcript.text, "usage": transcript.usage()}
    return body | {"logprobs": transcript.logprobs()} if call.scores else body


def verbose(call: TranscriptionCall, transcript: SoundTranscript) -> JsonObject:
    """Return the object of the format verbose_json."""
    return {
        "task": "translate" if call.translates else "transcribe",
        "language": call.language or UNKNOWN_LANGUAGE,
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "segments": transcript.segments_json(call.temperature),
        "usage": {"type": "duration", "seconds": round(transcript.duration_s, 3)},
    }


def srt(transcript: SoundTranscript) -> str:
    """Return SubRip subtitles, a piece each."""
    spoken = [segment for segment in transcript.segments if segment.text]
    cues = (f"{number}\n{_cue(each, ',')}" for number, each in enumerate(spoken, 1))
    return "".join(cues)


def vtt(transcript: SoundTranscript) -> str:
    """Return WebVTT subtitles, a piece each."""
    spoken = [segment for segment in transcript.segments if segment.text]
    return "WEBVTT\n\n" + "".join(_cue(each, ".") for each in spoken)


def _cue(segment: Segment, point: str) -> str:
    """Return times and text of a cue; an empty line would end it."""
    text = "\n".join(line for line in segment.text.splitlines() if line.strip())
    text = text.replace("-->", "->")
    return f"{_time(segment.start_s, point)} --> {_time(segment.end_s, point)}\n{text}\n\n"


def _time(seconds: float, point: str) -> str:
    minutes, ms = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{ms // 1000:02}{point}{ms % 1000:03}"
