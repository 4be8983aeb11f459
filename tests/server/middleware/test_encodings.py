"""Compressed bodies: what is taken, and how little a small one can make of itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from backports import zstd

from localrun.errors import BodyTooLargeError, UnsupportedEncodingError, UsageError
from localrun.server.middleware.bodies import (
    LARGE_PIECE_BYTES,
    MAX_BODY_BYTES,
    BodyReader,
    OpenBodies,
)
from localrun.server.middleware.encodings import decoder_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message

    from tests.server.serving import Served

BODY = {"model": "fake", "messages": [{"role": "user", "content": "say hé"}], "stream": False}


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def streamed_zstd(data: bytes) -> bytes:
    """Compress without telling the size."""
    packer = zstd.ZstdCompressor()
    return packer.compress(data) + packer.flush()


PACKED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gzip", gzip.compress),
    ("x-gzip", gzip.compress),
    ("GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstd.compress),
    ("zstd", streamed_zstd),
    ("identity", bytes),
]


def read_all(encoding: str, chunks: list[bytes], open_bodies: OpenBodies | None = None) -> bytes:
    waiting = list(chunks)

    async def receive() -> Message:
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def whole() -> bytes:
        found, has_more = b"", True
        while has_more:
            message = await body()
            assert len(message["body"]) <= max(LARGE_PIECE_BYTES, len(chunks[0]))
            found, has_more = found + message["body"], message["more_body"]
        return found

    body = BodyReader(
        receive, open_bodies or OpenBodies(), is_upload=False, decoder=decoder_of(encoding)
    )
    return asyncio.run(whole())


def post(served: Served, content: bytes, encoding: str, path: str = "/api/chat") -> httpx.Response:
    headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
    return httpx.post(f"{served.url}{path}", content=content, headers=headers, timeout=30)


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
def test_a_compressed_request_is_answered(
    served: Served, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    answer = post(served, pack(json.dumps(BODY).encode()), encoding)

    assert answer.status_code == 200, answer.text
    assert answer.json()["message"]["content"] == "hé"


def test_codex_sends_zstd_to_responses(served: Served) -> None:
    body = json.dumps({"model": "fake", "input": "say hé"}).encode()

    answer = post(served, zstd.compress(body), "zstd", "/v1/responses")

    assert answer.json()["output"][-1]["content"][0]["text"] == "hé"


@pytest.mark.parametrize(("encoding", "pack"), PACKED)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_is_the_same_however_it_is_cut(
    encoding: str, pack: Callable[[bytes], bytes], size: int
) -> None:
    text = bytes(range(256)) * 3000 + b"x" * 3_000_000
    packed = pack(text if size > 1000 else text[:500])

    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]

    assert read_all(encoding, chunks) == (text if size > 1000 else text[:500])


@pytest.mark.parametrize(("encoding", "pack"), [one for one in PACKED if one[0] != "identity"])
def test_a_bomb_is_refused_after_as_many_bytes_as_a_plain_body(
    encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    bomb, counted = pack(bytes(4 * MAX_BODY_BYTES)), OpenBodies()

    with pytest.raises(BodyTooLargeError, match="32 MiB"):
        read_all(encoding, [bomb], counted)

    assert len(bomb) < MAX_BODY_BYTES / 100
    assert counted.num_bytes <= MAX_BODY_BYTES


@pytest.mark.parametrize(("encoding", "pack"), [one for one in PACKED if one[0] != "identity"])
def test_damaged_bodies_are_named(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b'{"model": "guide"}' * 20)

    with pytest.raises(UsageError, match="ends in the middle"):
        read_all(encoding, [packed[:-3]])
    for wrong in ([packed + b"more"], [packed, b"more"], [b"\xff\xffplain text"]):
        with pytest.raises(UsageError, match="as its Content-Encoding says"):
            read_all(encoding, wrong)
    assert read_all(encoding, [b""]) == b""


def test_a_frame_of_zstd_cannot_ask_for_a_window_of_gigabytes() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 30}
    packer = zstd.ZstdCompressor(options=options)
    frame = packer.compress(b"x" * 1000) + packer.flush()

    with pytest.raises(UsageError, match="as its Content-Encoding says"):
        read_all("zstd", [frame])


@pytest.mark.parametrize("encoding", ["br", "gzip, zstd", "compress"])
def test_an_unknown_encoding_is_415_and_names_what_is_taken(served: Served, encoding: str) -> None:
    answer = post(served, b"x", encoding, "/v1/chat/completions")

    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate, zstd"
    assert "gzip, deflate, zstd" in answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "unsupported_encoding"


def test_a_file_is_not_decompressed(served: Served) -> None:
    answer = post(served, gzip.compress(b"x"), "gzip", "/api/blobs/sha256:" + "0" * 64)

    assert answer.status_code == 415


def test_a_wrong_body_of_a_request_is_400(served: Served) -> None:
    answer: Any = post(served, b"{}", "zstd").json()

    assert answer["error"] == "the body is not zstd, as its Content-Encoding says"


def test_unknown_encodings_are_refused() -> None:
    with pytest.raises(UnsupportedEncodingError, match="'br' is not supported"):
        decoder_of("br")


def test_zstd_is_imported_only_for_such_a_body() -> None:
    code = (
        "import sys, localrun.server.app;"
        "assert not [name for name in sys.modules if 'zstd' in name]"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
