"""The HTTP APIs of this server: the dialect of each path.

    /v1/messages                  Anthropic
    /v1/models                    Anthropic if the header anthropic-version is present, else OpenAI
    /v1/responses                 OpenAI Responses
    /v1, and llama-server's       OpenAI
    all others                    Ollama, also for localrun's own routes and unknown paths

The only module besides `app` that knows all API packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.server.anthropic.dialect import ANTHROPIC
from localrun.server.ollama.dialect import OLLAMA
from localrun.server.openai.dialect import OPENAI, RESPONSES

if TYPE_CHECKING:
    from starlette.types import Scope

    from localrun.server.dialect import Dialect

VERSION_HEADER = b"anthropic-version"
MESSAGES = "/v1/messages"
V1 = "/v1/"
# endpoints of OpenAI's alone: a proxy may send Anthropic's header there too
OPENAI_ONLY = (
    "/v1/chat/",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/audio/",
)
LLAMA_SERVER = ("/rerank", "/tokenize", "/detokenize", "/apply-template", "/props", "/slots")


def choose_dialect(scope: Scope) -> Dialect:
    """Return the dialect of a request by its path, and by a header if two APIs share the path."""
    path: str = scope["path"]
    if path == MESSAGES or path.startswith(f"{MESSAGES}/"):
        return ANTHROPIC
    if path.startswith(V1) and not path.startswith(OPENAI_ONLY) and _has_version(scope):
        return ANTHROPIC
    if path.startswith("/v1/responses"):
        return RESPONSES
    return OPENAI if path.startswith((V1, *LLAMA_SERVER)) else OLLAMA


def _has_version(scope: Scope) -> bool:
    return any(name == VERSION_HEADER for name, _ in scope["headers"])
