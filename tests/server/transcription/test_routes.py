"""``/v1/audio``, driven by OpenAI's own client; the fake runner answers with its instruction."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import openai
import pytest

from localrun.chat.media_marks import MARK
from tests.media.test_sounds import encoded, tone
from tests.server import serving as module
from tests.server.json_schema import problems
from tests.server.serving import FakeCatalogue, serving
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served

TEXT = f"Transcribe audio to text{MARK}"
PATH = "/v1/audio/transcriptions"


class HearingCatalogue(FakeCatalogue):
    """One model, which hears."""

    def __init__(self, file: str = "fake.gguf") -> None:
        super().__init__(file)
        details = replace(self.model.details, capabilities=("completion", "audio"))
        self.model = replace(self.model, details=details)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FakeCatalogue", HearingCatalogue)
        with serving() as found:
            yield found


@pytest.fixture
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as found:
        yield found


@pytest.fixture(scope="module")
def note() -> bytes:
    return encoded(tone(1.0), "wav")


@pytest.fixture(scope="module")
def talk() -> bytes:
    """Return 40 s of noise, which is quiet from 26 s to 26.5 s."""
    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (8000 * 40, 1)).astype(np.float32)
    samples[8000 * 26 : 8000 * 26 + 4000] = 0
    return encoded(samples, "flac", 8000)


def create(client: openai.OpenAI, data: bytes, **options: Any) -> Any:
    return client.audio.transcriptions.create(file=("x.bin", data), model="fake", **options)


def post(served: Served, data: bytes = b"", **fields: Any) -> httpx.Response:
    form = {"model": "fake", **fields}
    return httpx.post(f"{served.url}{PATH}", data=form, files={"file": data})


def test_a_note_becomes_text(client: openai.OpenAI, note: bytes) -> None:
    found = create(client, note)

    assert found.text == TEXT
    assert found.usage.type == "tokens"
    assert (found.usage.input_tokens, found.usage.output_tokens) == (5, 4)
    assert found.usage.total_tokens == 9


def test_language_and_prompt_are_part_of_the_instruction(
    client: openai.OpenAI, note: bytes
) -> None:
    found = create(client, note, language="pt-BR", prompt="Ana, Zé", response_format="text")

    said = f"Transcribe audio to text (language: pt-BR)\nContext: Ana, Zé\n{MARK}\n"
    assert found == said


def test_a_translation_asks_for_english(served: Served, note: bytes) -> None:
    form, path = {"model": "fake"}, "/v1/audio/translations"
    answer = httpx.post(f"{served.url}{path}", data=form, files={"file": note})

    assert answer.json()["text"] == f"Translate audio to English text{MARK}"


def test_a_long_sound_has_a_segment_for_each_piece(client: openai.OpenAI, talk: bytes) -> None:
    found = create(
        client, talk, response_format="verbose_json", timestamp_granularities=["segment"]
    )

    assert found.text == f"{TEXT} {TEXT}"
    assert (found.task, found.language, found.duration) == ("transcribe", "unknown", 40.0)
    assert found.usage.seconds == 40
    first, second = found.segments
    assert (first.id, first.start, first.text) == (0, 0.0, TEXT)
    assert 26 < first.end < 26.5
    assert (second.start, second.end) == (first.end, 40)
    assert (first.avg_logprob, first.seek) == (-0.5, 0)
    assert second.seek == round(second.start * 100)
    assert first.tokens == [1, 2, 3]


def test_subtitles_have_the_times_of_the_pieces(client: openai.OpenAI, talk: bytes) -> None:
    srt = create(client, talk, response_format="srt")
    vtt = create(client, talk, response_format="vtt")

    assert srt.startswith("1\n00:00:00,000 --> 00:00:26,")
    assert srt.endswith(f" --> 00:00:40,000\n{TEXT}\n\n")
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:26.")


def test_the_deltas_of_a_stream_are_the_text(client: openai.OpenAI, talk: bytes) -> None:
    events = list(create(client, talk, stream=True, include=["logprobs"]))

    *deltas, done = events
    assert {event.type for event in deltas} == {"transcript.text.delta"}
    assert len(deltas) == 8
    assert done.type == "transcript.text.done"
    assert "".join(event.delta for event in deltas) == done.text == f"{TEXT} {TEXT}"
    assert done.usage.output_tokens == 8
    assert [each.logprob for each in done.logprobs] == [-0.5] * 8


def test_the_answer_is_as_described(served: Served, note: bytes) -> None:
    document = httpx.get(f"{served.url}/openapi.json").json()
    schema = {"$ref": "#/components/schemas/Transcription"}

    for form in ("json", "verbose_json"):
        answer = post(served, note, response_format=form).json()
        assert problems(document, schema, answer) == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"timestamp_granularities[]": "word", "response_format": "verbose_json"}, "word"),
        ({"timestamp_granularities[]": "segment"}, "needs response_format verbose_json"),
        ({"stream": "true", "response_format": "srt"}, "stream needs"),
        ({"language": "a language\n"}, "language must be"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": "3"}, "temperature must be between"),
        ({"stream": "maybe"}, "stream must be true or false"),
        ({"response_format": "diarized_json"}, "response_format must be one of"),
        ({"chunking_strategy": "server_vad"}, "chunking_strategy is not supported"),
        ({"known_speaker_names[]": "Ana"}, "known_speaker_names[] is not supported"),
        ({"prompt": "x" * 20_000}, "prompt has more than"),
        ({"model": "nosuch"}, "not on this machine"),
        ({"include[]": "logprobs", "response_format": "text"}, "needs response_format json"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    served: Served, note: bytes, fields: dict[str, str], param: str
) -> None:
    answer = post(served, note, **fields)

    assert 400 <= answer.status_code < 500
    assert param in answer.json()["error"]["message"]


@pytest.mark.parametrize("data", [b"", b"no sound", b"RIFF0000WAVE", b"fLaC" + b"\xff" * 50])
def test_what_is_no_sound_is_refused(served: Served, data: bytes) -> None:
    answer = post(served, data)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"
    assert answer.json()["error"]["message"].startswith("file is")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "form"),
        (b"--x", "form"),
        (b"--x\r\n\r\n\r\n--x--\r\n", "form"),
        (b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n--x--\r\n', "file"),
        (b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nfake\r\n--x--\r\n', "file"),
    ],
)
def test_a_form_that_is_none_is_refused(served: Served, content: bytes, problem: str) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}

    answer = httpx.post(f"{served.url}{PATH}", content=content, headers=headers)

    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [PATH, "/v1/files"])
@pytest.mark.parametrize("charset", ["punycode", "undefined", "UTF-16"])
def test_a_form_in_another_charset_is_refused(served: Served, path: str, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary=x; charset={charset}"}
    content = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n--x--\r\n'

    answer = httpx.post(f"{served.url}{path}", content=content, headers=headers)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the form has a charset other than utf-8"


@pytest.mark.parametrize("path", [PATH, "/v1/files"])
def test_the_case_of_the_media_type_does_not_matter(served: Served, path: str) -> None:
    headers = {"Content-Type": "Multipart/Form-Data; boundary=x; charset=UTF-8"}
    content = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nfake\r\n--x--\r\n'

    answer = httpx.post(f"{served.url}{path}", content=content, headers=headers)

    assert answer.json()["error"]["message"].startswith("file is missing")


def test_many_files_and_large_fields_are_refused(served: Served, note: bytes) -> None:
    files = [("file", note), ("file", note)]
    twice = httpx.post(f"{served.url}{PATH}", data={"model": "fake"}, files=files)
    large = post(served, note, prompt="x" * 100_000)

    assert (twice.status_code, large.status_code) == (400, 400)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    url = httpx.URL(served.url)
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**40}\r\n\r\n"
    with socket.create_connection((url.host, url.port or 0), timeout=HANG_S) as sock:
        sock.sendall(head.encode())
        assert sock.recv(12) == b"HTTP/1.1 413"


def test_a_model_that_does_not_hear_names_the_next_command(note: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FakeCatalogue", FakeCatalogue)
        with serving() as deaf:
            error = post(deaf, note).json()["error"]

    assert error["param"] == "model"
    assert "localrun pull" in error["message"]
