"""A registry with models as Ollama publishes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.store.store import embedded_models
from tests.fakes.registry import FakeRegistry, digest_of
from tests.translation.files import gpt_oss, write_as_ollama

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes.web import Web

REPO = "library/oss"
OLLAMA = "application/vnd.ollama.image."
DOCKER = "application/vnd.docker."
RENAMED = (
    (".attn_output.", ".attn_out."),
    (".post_attention_norm.", ".ffn_norm."),
    (".attn_sinks.weight", ".attn_sinks"),
)


def gpt_oss_files(folder: Path) -> tuple[Path, Path]:
    """Return gpt-oss as llama.cpp reads it, and as Ollama published it."""
    ours, theirs = folder / "ours.gguf", folder / "theirs.gguf"
    gpt_oss(ours, embedded_models()["guide:latest"])
    write_as_ollama(ours, theirs, "gptoss", keys={}, tensors=old_name)
    return ours, theirs


def old_name(name: str) -> str:
    for new, old in RENAMED:
        name = name.replace(new, old)
    return name


def publish(
    registry: FakeRegistry,
    weights: bytes,
    *,
    repo: str = REPO,
    tag: str = "latest",
    system: str = "Be brief.",
    projector: bytes | None = None,
) -> str:
    """Publish a model; return the digest of its manifest."""
    files = [("model", weights), ("system", system.encode())]
    files += [("projector", projector)] if projector is not None else []
    layers = [_layer(registry, repo, f"{OLLAMA}{kind}", content) for kind, content in files]
    config = json.dumps({"model_format": "gguf"}).encode()
    value = {
        "schemaVersion": 2,
        "mediaType": f"{DOCKER}distribution.manifest.v2+json",
        "config": _layer(registry, repo, f"{DOCKER}container.image.v1+json", config),
        "layers": layers,
    }
    return registry.add_manifest(repo, tag, value, str(value["mediaType"]))


def fetched(web: Web, content: bytes) -> int:
    """Return the number of requests for a blob, which is fetched in ranges."""
    path = f"/blobs/{digest_of(content)}"
    return sum(request.method == "GET" and request.path.endswith(path) for request in web.requests)


def _layer(registry: FakeRegistry, repo: str, media_type: str, content: bytes) -> dict[str, Any]:
    digest = digest_of(content)
    registry.blobs[repo, digest] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}
