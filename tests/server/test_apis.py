from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from localrun.server.anthropic.dialect import ANTHROPIC
from localrun.server.apis import choose_dialect
from localrun.server.ollama.dialect import OLLAMA
from localrun.server.openai.dialect import OPENAI, RESPONSES

if TYPE_CHECKING:
    from localrun.server.dialect import Dialect
    from tests.server.serving import Served

VERSION = b"anthropic-version"


@pytest.mark.parametrize(
    ("path", "header", "dialect"),
    [
        ("/v1/messages", None, ANTHROPIC),
        ("/v1/messages/count_tokens", None, ANTHROPIC),
        ("/v1/messagesx", None, OPENAI),
        ("/v1/models", VERSION, ANTHROPIC),
        ("/v1/models", b"authorization", OPENAI),
        ("/v1/unknown", VERSION, ANTHROPIC),
        ("/v1/chat/completions", VERSION, OPENAI),
        ("/v1/responses/resp_1", VERSION, RESPONSES),
        ("/v1/responses", None, RESPONSES),
        ("/rerank", None, OPENAI),
        ("/tokenizer_info", None, OPENAI),
        ("/api/chat", VERSION, OLLAMA),
        ("/api/localrun/load", None, OLLAMA),
        ("/unknown", None, OLLAMA),
    ],
)
def test_the_path_decides_the_dialect(path: str, header: bytes | None, dialect: Dialect) -> None:
    headers = [] if header is None else [(header, b"x")]

    assert choose_dialect({"path": path, "headers": headers}) is dialect


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake"])
def test_models_are_listed_for_both_kinds_of_clients(served: Served, path: str) -> None:
    openai = httpx.get(served.url + path).json()
    anthropic = httpx.get(served.url + path, headers={VERSION.decode(): "2023-06-01"}).json()

    assert openai["object"] in {"list", "model"}
    assert "object" not in anthropic
