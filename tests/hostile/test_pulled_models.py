"""Manifests, layers, headers, folders and archives of strangers cost what their size does."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from localrun.convert.peft import read_adapter
from localrun.convert.safetensors import read_file, read_folder
from localrun.convert.tokenizer.description import read_description
from localrun.convert.tokenizer.read import read_vocabulary
from localrun.gguf.data import read_whole
from localrun.gguf.header import read_header
from localrun.hardware.reading import LONGEST_KEPT, read_shape
from localrun.names.parse import parse_name
from localrun.services.index.headers import describe_header
from localrun.services.models import Models
from localrun.services.recipes import read_recipe
from localrun.services.show import describe_model, files_text
from localrun.store.archive import import_archive
from localrun.store.manifest import Descriptor, Manifest, Role, parse_manifest
from localrun.store.store import Store
from localrun.store.tar import read_members
from tests.gguf import builder
from tests.hostile.repetitions import OBJECTS, UNITS, list_of, text_of
from tests.services.making import workspace_at
from tests.store.building import sha256
from tests.store.test_tar import archive_of, member

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hostile.growth import Growth

DIGEST = f"sha256:{'ab' * 32}"
OLLAMA = "application/vnd.ollama.image."
LAYER = {"mediaType": OLLAMA + "license", "digest": DIGEST, "size": 1}
WEIGHTS = builder.header(
    [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair("llama.block_count", builder.U32, 1),
    ]
)
MANIFESTS: dict[str, Callable[[int], dict[str, Any]]] = {
    "layers": lambda n: {"layers": list_of(LAYER, n), "config": LAYER},
    "weights": lambda n: {"layers": list_of(LAYER | {"mediaType": OLLAMA + "model"}, n)},
    "empty layers": lambda n: {"layers": list_of({}, n), "config": LAYER},
    "long type": lambda n: {"layers": [LAYER | {"mediaType": "a" * n}], "config": LAYER},
    "long digest": lambda n: {"layers": [LAYER | {"digest": "a" * n}], "config": LAYER},
    "long name": lambda n: {"layers": [_named("a/" * (n // 2))], "config": LAYER},
    "other keys": lambda n: {"layers": [], "config": LAYER, "annotations": {"a" * n: "b"}},
}
TEXT_LAYERS = ("template", "system", "license", "params", "messages")
PARAMETERS: dict[str, Callable[[int], Any]] = {
    "names": OBJECTS["many keys"],
    "nested": OBJECTS["nested"],
    "stop": OBJECTS["stops"],
    "seed": lambda n: {"seed": [1] * (n // 3)},
    "messages": lambda n: list_of({"role": "user", "content": "a"}, n),
    "empty": lambda n: list_of({}, n),
}
JSON_TEXTS = ('{"a":', "[", "[],", "{},", "1", '"a":1,', " ", "\\", '"')


@pytest.mark.parametrize("kind", MANIFESTS)
def test_manifests(growth: Growth, kind: str) -> None:
    def make(size: int) -> Callable[[], object]:
        content = json.dumps(MANIFESTS[kind](size)).encode()

        def read() -> None:
            manifest = parse_manifest(content)
            assert [manifest.with_role(role) for role in Role]
            assert manifest.size_bytes >= 0

        return read

    growth.check(make)


@pytest.mark.parametrize("start", ["", '{"layers": ', '{"layers": [], "config": '])
@pytest.mark.parametrize("unit", JSON_TEXTS)
def test_manifests_that_are_no_json(growth: Growth, start: str, unit: str) -> None:
    growth.check(lambda size: lambda: parse_manifest((start + unit * (size // len(unit))).encode()))


@dataclass(frozen=True)
class Shelf:
    """A store with one model of some layers of text."""

    root: Path

    def model(self, name: str, layers: list[tuple[str, bytes]]) -> Store:
        store = Store(self.root / name)
        described = [_layer(OLLAMA + kind, content) for kind, content in layers]
        with store.lease() as lease:
            for _, content in layers:
                store.blobs.put(content, lease)
            manifest = Manifest(config=described[0], layers=tuple(described))
            store.tag(parse_name("m"), manifest.to_bytes(), lease)
        return store


@pytest.mark.parametrize("layer", TEXT_LAYERS)
def test_layers_of_text(growth: Growth, layer: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    once_slow = ["jinja comments", "go values"] if layer == "template" else []
    for unit in [*once_slow, *growth.sample(list(UNITS), layer)]:

        def make(size: int, unit: str = unit) -> Callable[[], object]:
            text = text_of(unit, size).encode(errors="replace")
            workspace = workspace_at(tmp_path / f"{unit}-{size}", "http://127.0.0.1:9")
            workspace.store = shelf.model(f"{unit}-{size}", [("model", WEIGHTS), (layer, text)])

            return workspace.models.list_models

        growth.check(make)


@pytest.mark.parametrize("kind", PARAMETERS)
@pytest.mark.parametrize("layer", ["params", "messages"])
def test_layers_of_parameters(growth: Growth, layer: str, kind: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)

    def make(size: int) -> Callable[[], object]:
        content = json.dumps(PARAMETERS[kind](size)).encode()
        workspace = workspace_at(tmp_path / f"home-{size}", "http://127.0.0.1:9")
        workspace.store = shelf.model(str(size), [("model", WEIGHTS), (layer, content)])

        def read() -> None:
            model = workspace.models.find_model("m")
            assert [model.recipe.parameter(name) for name in ("seed", "num_ctx") * 20]
            describe_model(workspace, "m")
            files_text(workspace, "m")

        return read

    growth.check(make)


def test_a_parameter_that_is_no_list_has_its_last_value(tmp_path: Path) -> None:
    params = json.dumps({"seed": [1, 2, 3], "stop": ["a", "b"], "unknown": 1}).encode()
    workspace = workspace_at(tmp_path, "http://127.0.0.1:9")
    workspace.store = Shelf(tmp_path).model("m", [("model", WEIGHTS), ("params", params)])

    assert workspace.models.find_model("m").recipe.parameters == (
        ("seed", 3),
        ("stop", "a"),
        ("stop", "b"),
    )
    assert "PARAMETER seed 3" in files_text(workspace, "m")


def test_layers_that_name_one_blob_again_and_again(growth: Growth, tmp_path: Path) -> None:
    def make(size: int) -> Callable[[], object]:
        store = Store(tmp_path / str(size))
        text = b"a" * 100_000
        with store.lease() as lease:
            store.blobs.put(text, lease)
        layer = _layer(OLLAMA + "license", text)
        manifest = Manifest(config=layer, layers=(layer,) * (size // 100))
        return lambda: read_recipe(parse_manifest(manifest.to_bytes()), store.blobs)

    growth.check(make)


GGUF_PAIRS: dict[str, Callable[[int], list[bytes]]] = {
    "pairs": lambda n: [builder.pair(f"k{i}", builder.U8, 1) for i in range(n // 18)],
    "long text": lambda n: [
        builder.pair("tokenizer.chat_template", builder.STRING, "{#" * (n // 2))
    ],
    "long name": lambda n: [builder.pair("general.architecture", builder.STRING, "a" * n)],
    "long key": lambda n: [builder.pair("k" * min(n, 65_000), builder.U8, 1)],
    "texts": lambda n: [builder.array("t", builder.STRING, ["a"] * (n // 9))],
    "numbers": lambda n: [builder.array("t", builder.U8, [1] * n)],
    "short arrays": lambda n: [
        builder.array(f"k{i}", builder.U8, [1] * 64) for i in range(n // 100)
    ],
    "layers": lambda n: [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair("llama.block_count", builder.U32, min(1024, n // 50)),
        builder.pair("llama.embedding_length", builder.U32, 64),
        builder.pair("llama.attention.sliding_window", builder.U32, 64),
        builder.pair("llama.ssm.conv_kernel", builder.U32, 4),
        *(
            builder.array(f"llama.{key}", builder.I32, [1] * min(1024, n // 50))
            for key in ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
        ),
    ],
}


@pytest.mark.parametrize("kind", GGUF_PAIRS)
def test_headers(growth: Growth, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"

    def make(size: int) -> Callable[[], object]:
        layers = range(min(1024, size // 50))
        tensors = [builder.tensor(f"blk.{i}.attn_k.weight", [1]) for i in layers]
        path.write_bytes(builder.header(GGUF_PAIRS[kind](size), tensors) + bytes(64))

        def read() -> None:
            header = read_header(path, longest_kept=LONGEST_KEPT)
            describe_header(header)
            read_shape(header)

        return read

    growth.check(make)


def test_headers_of_many_tensors(growth: Growth, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"

    def make(size: int) -> Callable[[], object]:
        names = [f"t{number}" for number in range(size // 40)]
        path.write_bytes(builder.header([], [builder.tensor(name, [0]) for name in names]))
        return lambda: read_whole(path)

    growth.check(make)


TENSOR = {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]}
SAFETENSORS: dict[str, Callable[[int], dict[str, Any]]] = {
    "tensors": lambda n: {f"t{i}": TENSOR for i in range(n // 70)},
    "long name": lambda n: {"a" * n: TENSOR},
    "dots": lambda n: {"a." * (n // 2): TENSOR},
    "shape": lambda n: {"a": TENSOR | {"shape": [1] * (n // 3)}},
    "type": lambda n: {"a": TENSOR | {"dtype": "a" * n}},
    "metadata": lambda n: {"__metadata__": {"a": "a" * n}},
}


@pytest.mark.parametrize("kind", SAFETENSORS)
def test_safetensors(growth: Growth, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    def make(size: int) -> Callable[[], object]:
        path.write_bytes(_safetensors(SAFETENSORS[kind](size)))
        return lambda: read_file(path)

    growth.check(make)


def test_an_index_of_many_tensors(growth: Growth, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(_safetensors({"t": TENSOR}))

    def make(size: int) -> Callable[[], object]:
        places = {f"t{number}": "a.safetensors" for number in range(size // 30)}
        index = tmp_path / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": places}))
        return lambda: read_folder(tmp_path)

    growth.check(make)


TOKENIZERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "vocabulary": lambda n: {"vocab": {f"t{i}": i for i in range(n // 15)}, "merges": []},
    "far id": lambda n: {"vocab": {"a": 4_000_000}, "merges": [], "unk_token": "a" * n},
    "merges": lambda n: {"vocab": {"a": 0}, "merges": ["a b"] * (n // 7)},
    "long merge": lambda n: {"vocab": {"a": 0}, "merges": [" " * n]},
    "long pattern": lambda n: {"vocab": {"a": 0}, "merges": [], "pattern": "a|" * (n // 2)},
}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokenizers(growth: Growth, kind: str, tmp_path: Path) -> None:
    def make(size: int) -> Callable[[], object]:
        model = {"type": "BPE", **TOKENIZERS[kind](size)}
        split = {
            "type": "Split",
            "behavior": "Isolated",
            "pattern": {"Regex": model.pop("pattern", "a")},
        }
        level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
        steps = {"type": "Sequence", "pretokenizers": [split, level]}
        described = {"model": model, "pre_tokenizer": steps}
        (tmp_path / "tokenizer.json").write_text(json.dumps(described))
        return lambda: read_vocabulary(tmp_path, read_description(tmp_path), "llama")

    growth.check(make)


def test_adapters_with_a_rank_for_every_module(growth: Growth, tmp_path: Path) -> None:
    def make(size: int) -> Callable[[], object]:
        modules = [f"base_model.model.l.{number}" for number in range(size // 400)]
        ranks = {f"x.l.{number}": 1 for number in range(size // 40)}
        config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "rank_pattern": ranks}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        names = [f"{module}.lora_{half}.weight" for module in modules for half in "AB"]
        tensors = {
            name: TENSOR | {"data_offsets": [4 * at, 4 * at + 4]} for at, name in enumerate(names)
        }
        content = _safetensors(tensors, 4 * len(names))
        (tmp_path / "adapter_model.safetensors").write_bytes(content)
        return lambda: read_adapter(tmp_path)

    growth.check(make)


def test_archives(growth: Growth) -> None:
    def make_members(size: int) -> Callable[[], object]:
        content = archive_of([member(f"f{number}", 0) for number in range(size // 512)])
        return lambda: _read(content)

    def make_extensions(size: int) -> Callable[[], object]:
        records = b"5 a=\n" * 12_000
        content = _pax(records) * (size // len(records) + 1) + archive_of([])
        return lambda: _read(content)

    def make_long_records(size: int) -> Callable[[], object]:
        content = (_pax(b"9" * 60_000) + _pax(b" " * 60_000)) * (size // 120_000 + 1)
        return lambda: _read(content)

    for make in (make_members, make_extensions, make_long_records):
        growth.check(make)


def test_an_archive_of_one_model_under_many_names(growth: Growth, tmp_path: Path) -> None:
    def make(size: int) -> Callable[[], object]:
        manifest = json.dumps({"layers": list_of(LAYER, 20_000), "config": LAYER}).encode()
        entries = [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": sha256(manifest),
                "size": len(manifest),
                "annotations": {"org.opencontainers.image.ref.name": f"m{number}"},
            }
            for number in range(size // 300)
        ]
        files = {
            "index.json": json.dumps({"manifests": entries}).encode(),
            f"blobs/sha256/{sha256(manifest)[7:]}": manifest,
        }
        content = _archive(files)
        store = Store(tmp_path / str(size))
        return lambda: import_archive(store, io.BytesIO(content))

    growth.check(make)


def test_a_store_of_the_embedded_model_lists_it(tmp_path: Path) -> None:
    assert [model.name for model in Models(Store(tmp_path)).list_models()] == ["guide:latest"]


def _named(name: str) -> dict[str, Any]:
    return LAYER | {"annotations": {"org.cncf.model.filepath": name}}


def _layer(media_type: str, content: bytes) -> Descriptor:
    return Descriptor(media_type=media_type, digest=sha256(content), size_bytes=len(content))


def _safetensors(header: dict[str, Any], num_bytes: int = 4) -> bytes:
    content = json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + bytes(num_bytes)


def _read(content: bytes) -> None:
    for found in read_members(io.BytesIO(content)):
        for _ in found.chunks:
            pass


def _pax(records: bytes) -> bytes:
    """Return an extended header for all files that follow."""
    info = member("x", len(records), b"g")
    return info.tobuf() + records + bytes(-len(records) % 512)


def _archive(files: dict[str, bytes]) -> bytes:
    blocks = []
    for name, content in files.items():
        info = member(name, len(content))
        blocks.append(info.tobuf() + content + bytes(-len(content) % 512))
    return b"".join(blocks) + bytes(1024)
