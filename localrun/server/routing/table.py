"""Route table of the server: which module serves which paths, imported when the first asks.

The only module besides `apis` that knows all API packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.server.routing.parts import Parts
    from localrun.server.routing.routes import Routes

    Load = Callable[[Parts], Routes]


def _openai(parts: Parts) -> Routes:
    from localrun.server.openai.routes import openai_routes

    return openai_routes(parts.completions, parts.tokens)


def _models(parts: Parts) -> Routes:
    from localrun.server.model_routes import model_routes

    return model_routes(parts.catalogue)


def _responses(parts: Parts) -> Routes:
    from localrun.server.openai.responses.routes import responses_routes
    from localrun.server.openai.responses.service import ResponseService

    service = ResponseService(parts.completions, parts.catalogue.find_model)
    return responses_routes(service, parts.tokens)


def _anthropic(parts: Parts) -> Routes:
    from localrun.server.anthropic.routes import anthropic_routes

    return anthropic_routes(parts.completions, parts.tokens)


def _version(parts: Parts) -> Routes:
    from localrun.server.ollama.version import version_routes

    return version_routes(parts.settings.device)


def _tags(parts: Parts) -> Routes:
    from localrun.server.ollama.listing import tag_routes

    return tag_routes(parts.catalogue)


def _running(parts: Parts) -> Routes:
    from localrun.server.ollama.listing import running_routes

    return running_routes(parts.catalogue, parts.pool, parts.names, parts.remotes)


def _generation(parts: Parts) -> Routes:
    from localrun.server.ollama.routes import generation_routes

    return generation_routes(parts.completions, parts.tokens, parts.pool)


def _root_tokens(parts: Parts) -> Routes:
    from localrun.server.llamacpp.tokens import root_token_routes

    return root_token_routes(parts.tokens, parts.catalogue, parts.pool)


def _props(parts: Parts) -> Routes:
    from localrun.server.llamacpp.props import props_routes

    return props_routes(parts.catalogue, parts.pool)


def _account(_parts: Parts) -> Routes:
    from localrun.server.ollama.account import account_routes

    return account_routes()


def _library(parts: Parts) -> Routes:
    from localrun.server.ollama.library import library_routes

    return library_routes(parts.workspace, parts.names)


def _why(parts: Parts) -> Routes:
    from localrun.server.why import why_routes

    return why_routes(parts.catalogue, parts.pool, parts.settings)


def _own(parts: Parts) -> Routes:
    from localrun.server.own import own_routes

    return own_routes(parts.completions, parts.pool, parts.names, parts.remotes)


def _chats(parts: Parts) -> Routes:
    from localrun.server.chats.routes import chat_routes
    from localrun.server.chats.stored import StoredChats

    pool = parts.deferred_pool
    return chat_routes(StoredChats(parts.workspace.environ, lambda: pool.is_closing))


def _management(parts: Parts) -> Routes:
    from localrun.server.jobs import Jobs, job_environ
    from localrun.server.management.routes import management_routes

    jobs = Jobs(job_environ(parts.workspace), parts.warm)
    return management_routes(parts.catalogue, parts.pool, jobs)


def _render(_parts: Parts) -> Routes:
    from localrun.server.rendering.routes import render_routes

    return render_routes()


def _web(parts: Parts) -> Routes:
    from localrun.server.web.routes import web_routes

    return web_routes(has_page=parts.settings.has_page)


def _transcription(parts: Parts) -> Routes:
    from localrun.server.jobs import Jobs, job_environ
    from localrun.server.transcription.routes import transcription_routes
    from localrun.server.transcription.transcribing import Transcriber

    jobs = Jobs(job_environ(parts.workspace), parts.warm, busy="sounds are read")
    return transcription_routes(Transcriber(parts.completions, parts.catalogue.find_model, jobs))


def _batches(parts: Parts) -> Routes:
    from localrun.server.batches import service  # noqa: F401 - before the event loop needs it
    from localrun.server.batches.routes import batch_routes

    return batch_routes(lambda: parts.batches)


def _transfers(parts: Parts) -> Routes:
    from localrun.server.jobs import Jobs, job_environ
    from localrun.server.ollama.transfers import transfer_routes

    jobs = Jobs(job_environ(parts.workspace), parts.warm)
    return transfer_routes(jobs, parts.uploads, parts.names)


def _embedding(parts: Parts) -> Routes:
    from localrun.server.embedding_routes import embedding_routes

    return embedding_routes(parts.embedding)


# in the order of the API document; a path stands for all paths below it, too
TABLE: dict[Load, tuple[str, ...]] = {
    _openai: (
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/tokenize",
        "/v1/detokenize",
        "/v1/apply-template",
    ),
    _models: ("/v1/models",),
    _responses: ("/v1/responses",),
    _transcription: ("/v1/audio",),
    _batches: ("/v1/files", "/v1/batches"),
    _anthropic: ("/v1/messages",),
    _version: ("/api/version",),
    _tags: ("/api/tags",),
    _running: ("/api/ps",),
    _generation: ("/api/chat", "/api/generate"),
    _root_tokens: ("/tokenize", "/detokenize", "/apply-template"),
    _props: ("/props", "/slots", "/tokenizer_info"),
    _account: ("/api/status", "/api/me", "/api/signout"),
    _library: ("/api/show", "/api/copy", "/api/delete"),
    _why: ("/api/localrun/why",),
    _own: (
        "/api/localrun/ps",
        "/api/localrun/load",
        "/api/localrun/removed",
        "/api/localrun/renamed",
    ),
    _chats: ("/api/localrun/chats",),
    _management: (
        "/api/localrun/parameters",
        "/api/localrun/plan",
        "/api/localrun/search",
        "/api/localrun/lint",
        "/api/localrun/doctor",
        "/api/localrun/machine",
        "/api/localrun/log",
        "/api/localrun/presence",
    ),
    _render: ("/api/localrun/render",),
    _web: ("/web", "/login", "/logout"),
    _transfers: ("/api/pull", "/api/push", "/api/create", "/api/blobs"),
    _embedding: (
        "/v1/embeddings",
        "/v1/rerank",
        "/v1/reranking",
        "/rerank",
        "/reranking",
        "/api/embed",
        "/api/embeddings",
    ),
}
