"""A store of many models for benchmarks, made within seconds: `fill_store`.

Each model has weights, a recipe, a template and a license of its own. All weights are one file by
hard links: only its header is ever read, so the digests in the names are not those of its bytes.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING

from localrun.names.parse import parse_name
from localrun.services.recipes import StoredRecipe, recipe_bytes
from localrun.store.layout import create
from localrun.store.manifest import (
    DOCKER_CONFIG,
    MEDIA_TYPES,
    Descriptor,
    Manifest,
    Role,
    model_config,
)
from localrun.store.refs import StoredRef
from localrun.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

NUM_TOKENS = 150_000  # as large as the vocabularies of Qwen and Llama
NUM_LAYERS = 28
TENSORS = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{{ tools }}" * 50
UPDATED = "2026-11-21T07:00:00+00:00"
OLD_S = 1_700_000_000  # so that the files are settled


def fill_store(root: Path, num_models: int, num_tokens: int = NUM_TOKENS) -> Store:
    """Return a new store with the models ``model-0`` to ``model-<n - 1>``."""
    store = Store(root)
    create(store.layout)
    weights = root / "tmp" / "weights"
    _write(weights, _weights(num_tokens))
    for number in range(num_models):
        _add_model(store, number, weights)
    weights.unlink()
    return store


def _add_model(store: Store, number: int, weights: Path) -> None:
    digest = _digest(f"weights {number}".encode())
    os.link(weights, store.layout.blob(digest))
    layers = [_descriptor(Role.WEIGHTS, digest, weights.stat().st_size)]
    recipe = StoredRecipe(system=f"You are {number}.", parameters=(("temperature", 0.7),))
    texts = {
        Role.RECIPE: recipe_bytes(recipe) or b"",
        Role.TEMPLATE: f"{TEMPLATE}{number}".encode(),
        Role.LICENSE: f"License {number}. ".encode() * 500,
    }
    for role, text in texts.items():
        layers.append(_descriptor(role, _put(store, text), len(text)))
    config = model_config({"format": "gguf"}, tuple(layers))
    described = Descriptor(
        media_type=DOCKER_CONFIG, digest=_put(store, config), size_bytes=len(config)
    )
    manifest = Manifest(config=described, layers=tuple(layers)).to_bytes()
    ref = parse_name(f"model-{number}")
    stored = StoredRef(name=str(ref), manifest=_put(store, manifest), updated=UPDATED)
    path = store.layout.ref(ref.key)
    path.parent.mkdir(parents=True)
    _write(path, stored.to_json())


def _descriptor(role: Role, digest: str, size_bytes: int) -> Descriptor:
    return Descriptor(media_type=MEDIA_TYPES[role], digest=digest, size_bytes=size_bytes)


def _put(store: Store, content: bytes) -> str:
    digest = _digest(content)
    _write(store.layout.blob(digest), content)
    return digest


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.utime(path, (OLD_S, OLD_S))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _weights(num_tokens: int) -> bytes:
    """Return a GGUF file that has the header of a Qwen 3 0.6B and no data."""
    tokens = [f"token{number}" for number in range(num_tokens)]
    pairs = [
        _pair("general.architecture", 8, _text("qwen3")),
        _pair("general.file_type", 4, struct.pack("<I", 15)),
        _pair("qwen3.context_length", 4, struct.pack("<I", 40960)),
        _pair("qwen3.embedding_length", 4, struct.pack("<I", 1024)),
        _pair("tokenizer.ggml.tokens", 9, _texts(tokens)),
        _pair(
            "tokenizer.ggml.token_type",
            9,
            struct.pack("<IQ", 5, num_tokens) + bytes(4 * num_tokens),
        ),
        _pair("tokenizer.ggml.merges", 9, _texts(tokens)),
        _pair("tokenizer.chat_template", 8, _text(TEMPLATE)),
    ]
    tensors = [
        _text(f"blk.{layer}.{name}.weight") + struct.pack("<IQQIQ", 2, 1024, 1024, 12, 0)
        for layer in range(NUM_LAYERS)
        for name in TENSORS
    ]
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(pairs))
    return head + b"".join(pairs) + b"".join(tensors)


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _texts(texts: list[str]) -> bytes:
    return struct.pack("<IQ", 8, len(texts)) + b"".join(map(_text, texts))


def _numbers(count: int) -> bytes:
    return struct.pack("<IQ", 5, count) + bytes(4 * count)
