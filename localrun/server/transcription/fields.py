"""Form fields of ``/v1/audio/transcriptions`` and ``/v1/audio/translations``, as OpenAI has them.

Any chat model that hears answers: ``prompt`` and ``language`` become part of the instruction that
stands before the sound. Times are those of the pieces that a sound is cut into, since such models
tell none; times of words are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.server.openai import fields as common
from localrun.server.parsing.json_schema import TEXT, Schema, either, listed, one_of
from localrun.server.parsing.limits import LONGEST_NAME
from localrun.server.parsing.options import KEEP_ALIVE, MODEL, NUM_CTX
from localrun.server.parsing.table import (
    Field,
    Table,
    choice,
    documented,
    flag,
    neutral,
    number,
    text,
)

if TYPE_CHECKING:
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values
    from localrun.supervisor.model import KeepAlive

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
STREAMED = ("json", "text")
TYPED = ("temperature", "stream", "num_ctx", *common.LENGTH_NAMES)  # no texts
LONGEST_PROMPT = 16 * 1024
LANGUAGE_CODE = re.compile(r"[A-Za-z]{2,20}(?:[-_][A-Za-z0-9]{1,8}){0,3}")
ENGLISH = "english"
GRANULARITIES, INCLUDE = "timestamp_granularities[]", "include[]"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionCall:
    """A parsed request."""

    model: str
    translates: bool
    language: str | None
    prompt: str | None
    response_format: str
    temperature: float
    stream: bool
    scores: bool  # log probabilities of the tokens are wanted
    num_predict: int | None
    num_ctx: int | None
    keep_alive: KeepAlive | None

    @property
    def is_verbose(self) -> bool:
        """Return whether segments are described."""
        return self.response_format == "verbose_json"


def _language(fields: Fields, name: str) -> str | None:
    language = fields.text(name)
    if language and not LANGUAGE_CODE.fullmatch(language):
        raise fields.wrong(name, "must be a language such as en, de or pt-BR")
    return language or None


def _granularities(fields: Fields, name: str) -> tuple[str, ...]:
    wanted = fields.strings(name, most=2)
    if "word" in wanted:
        raise fields.wrong(name, "cannot be word: models that hear tell no times of words")
    if any(each != "segment" for each in wanted):
        raise fields.wrong(name, "must be segment")
    if wanted and fields.raw("response_format") != "verbose_json":
        raise fields.wrong(name, "needs response_format verbose_json")
    return wanted


def _include(fields: Fields, name: str) -> bool:
    wanted = fields.strings(name, most=2)
    if any(each != "logprobs" for each in wanted):
        raise fields.wrong(name, "must be logprobs")
    if wanted and fields.raw("response_format") not in {None, "json"}:
        raise fields.wrong(name, "needs response_format json")
    return bool(wanted)


def _list_of(value: str) -> Schema:
    return either(one_of(value), listed(one_of(value)))


_LANGUAGE = Field("language", _language, TEXT)
_PROMPT = text("prompt", longest=LONGEST_PROMPT)
_RESPONSE_FORMAT = choice("response_format", FORMATS)
_TEMPERATURE = number("temperature", 0, 2)
_STREAM = flag("stream")
_GRANULARITIES = Field(GRANULARITIES, _granularities, _list_of("segment"))
_INCLUDE = Field(INCLUDE, _include, _list_of("logprobs"))
TRANSLATION = Table(
    (
        documented("file", {"type": "string", "format": "binary"}),
        MODEL,
        _PROMPT,
        _RESPONSE_FORMAT,
        _TEMPERATURE,
        *common.LENGTHS,
        NUM_CTX,
        KEEP_ALIVE,
    )
)
TRANSCRIPTION = Table(
    (
        *TRANSLATION.rows,
        _LANGUAGE,
        _STREAM,
        _GRANULARITIES,
        _INCLUDE,
        neutral("chunking_strategy", ("auto",)),
        neutral("chunking_strategy[type]"),
        neutral("known_speaker_names[]"),
        neutral("known_speaker_references[]"),
    )
)


def parse_transcription(fields: Fields) -> TranscriptionCall:
    """Return the call of a transcription.

    Raises:
        UsageError: a field is wrong, or cannot be honoured.
    """
    values = TRANSCRIPTION.read(fields)
    call = _call(
        values,
        language=values[_LANGUAGE],
        stream=values[_STREAM] or False,
        scores=values[_INCLUDE],
    )
    if call.stream and call.response_format not in STREAMED:
        raise fields.wrong("stream", f"needs response_format {' or '.join(STREAMED)}")
    return call


def parse_translation(fields: Fields) -> TranscriptionCall:
    """Return the call of a translation to English.

    Raises:
        UsageError: a field is wrong, or cannot be honoured.
    """
    return _call(TRANSLATION.read(fields), translates=True)


def _call(
    values: Values,
    *,
    translates: bool = False,
    language: str | None = None,
    stream: bool = False,
    scores: bool = False,
) -> TranscriptionCall:
    response_format = values[_RESPONSE_FORMAT] or "json"
    return TranscriptionCall(
        model=values[MODEL][:LONGEST_NAME],
        translates=translates,
        language=ENGLISH if translates else language,
        prompt=values[_PROMPT],
        response_format=response_format,
        temperature=values[_TEMPERATURE] or 0.0,
        stream=stream,
        scores=scores or response_format == "verbose_json",
        num_predict=common.num_predict(values),
        num_ctx=values[NUM_CTX],
        keep_alive=values[KEEP_ALIVE],
    )
