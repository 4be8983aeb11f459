"""What real clients send besides what they mean: nulls, empty lists, old names, odd headers.

Each of these was seen in a client, and is answered as if it were not there.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.server.serving import Served

HI = [{"role": "user", "content": "say hi"}]
BASIC = {"authorization": "Basic eDp5"}
CURL = "application/x-www-form-urlencoded"  # what ``curl -d`` says of a JSON body
# what the AI SDK, LangChain and others send as null where the user has chosen nothing
OPENAI_UNCHOSEN = """
temperature top_p n stream stop max_tokens max_completion_tokens presence_penalty
frequency_penalty logit_bias user seed tools tool_choice parallel_tool_calls response_format
logprobs top_logprobs stream_options metadata store service_tier reasoning_effort modalities
audio prediction functions function_call verbosity web_search_options
"""
OLLAMA_UNCHOSEN = """
mirostat mirostat_eta mirostat_tau num_ctx num_gpu num_thread num_predict repeat_last_n
repeat_penalty temperature seed stop tfs_z top_k top_p min_p numa num_keep typical_p
presence_penalty frequency_penalty penalize_newline low_vram f16_kv vocab_only use_mmap
use_mlock num_batch main_gpu
"""
LEGACY_OPTIONS = {"mirostat": 0, "tfs_z": 1.0, "num_gqa": 1, "numa": False, "low_vram": False}
OPENAI_EXTRAS = {
    "user": "me",
    "metadata": {"a": "b"},
    "store": False,
    "service_tier": "auto",
    "verbosity": "medium",
    "prompt_cache_key": "k",
    "safety_identifier": "x",
    "parallel_tool_calls": True,
    "stop": [],
    "tools": [],
    "logit_bias": {},
    "nobody_documented_this": 1,
}
PARTS = [
    {"role": "developer", "content": [{"type": "text", "text": "Be"}]},
    {"role": "user", "content": [{"type": "text", "text": "say hi"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    },
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "say hi"}]},
]
BROWSER = "text/html,application/xhtml+xml,*/*;q=0.8"
STREAM = {"include_usage": True, "continuous_usage_stats": True, "include_obfuscation": False}
EMPTY: dict[str, Any] = {"images": [], "tool_calls": []}
NOTHING: dict[str, Any] = {"images": None, "tool_calls": None, "thinking": None, "tool_name": None}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": HI, **dict.fromkeys(OPENAI_UNCHOSEN.split())}),
        ("/v1/chat/completions", {"messages": HI, **OPENAI_EXTRAS}),
        ("/v1/chat/completions?api-version=2026-01-01", {"messages": PARTS}),
        ("/v1/chat/completions", {"messages": HI, "stream": True, "stream_options": STREAM}),
        (
            "/api/chat",
            {
                "messages": [HI[0] | EMPTY],
                "tools": [],
                "format": "",
                "options": dict.fromkeys(OLLAMA_UNCHOSEN.split()),
            },
        ),
        (
            "/api/chat",
            {"messages": [HI[0] | NOTHING], "tools": None, "options": LEGACY_OPTIONS},
        ),
        (
            "/api/generate",
            {"prompt": "say hi", "suffix": "", "template": "", "context": [], "images": []},
        ),
        (
            "/v1/messages?beta=true",
            {"messages": HI, "max_tokens": 9, "tools": [], "metadata": {"user_id": "x"}},
        ),
    ],
)
def test_it_is_answered(served: Served, path: str, fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "fake", **fields})
    headers = {"content-type": CURL, "anthropic-version": "2026-10-21", **BASIC}

    answer = httpx.post(f"{served.url}{path}", content=body, headers=headers)

    assert answer.status_code == 200, answer.text
    assert '"hi"' in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("HEAD", path) for path in ("/", "/api/version", "/api/tags", "/health")),
        *(("GET", path) for path in ("/", "/api/version", "/api/tags", "/api/ps", "/health")),
        ("GET", "/metrics"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/fake"),
    ],
)
def test_it_looks_like_what_clients_look_for(served: Served, method: str, path: str) -> None:
    assert httpx.request(method, f"{served.url}{path}", headers=BASIC).status_code == 200


def test_it_is_no_older_than_the_ollama_that_codex_wants(served: Served) -> None:
    version = httpx.get(f"{served.url}/api/version").json()["version"]

    assert tuple(map(int, version.split("."))) >= (0, 13, 4)


def test_a_page_may_send_the_headers_of_openais_client(served: Served) -> None:
    asked = {
        "origin": "http://localhost:3000",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-lang",
    }

    answer = httpx.options(f"{served.url}/v1/chat/completions", headers=asked)

    assert answer.headers["access-control-allow-origin"] == asked["origin"]
    allowed = answer.headers["access-control-allow-headers"]
    assert "*" in allowed
    assert "authorization" in allowed  # which the star does not stand for


@pytest.mark.parametrize(
    ("accept", "told"),
    [("*/*", "Ollama is running"), ("", "Ollama is running")],
)
def test_the_root_says_what_clients_of_ollama_compare_with(
    served: Served, accept: str, told: str
) -> None:
    answer = httpx.get(served.url, headers={"accept": accept})

    assert (answer.status_code, answer.text) == (200, told)
    assert httpx.head(served.url).status_code == 200
