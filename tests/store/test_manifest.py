"""Manifests of all tools, and everything that is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import IntegrityError
from localrun.store.manifest import (
    MAX_BYTES,
    MEDIA_TYPES,
    Descriptor,
    Manifest,
    Role,
    model_config,
    parse_manifest,
)
from tests.store.building import descriptor, json_manifest, manifest_of, sha256

DOCKER = "application/vnd.docker.ai."
CNCF = "application/vnd.cncf.model."
OLLAMA = "application/vnd.ollama.image."
CONFIGS = {
    "docker": f"{DOCKER}model.config.v0.1+json",
    "docker v0.2": f"{DOCKER}model.config.v0.2+json",
    "cncf": f"{CNCF}config.v1+json",
    "ollama": "application/vnd.docker.container.image.v1+json",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


@pytest.mark.parametrize(
    ("tool", "media_type", "name", "role"),
    [
        ("docker", f"{DOCKER}gguf.v3", "", Role.WEIGHTS),
        ("docker", f"{DOCKER}gguf.v3.lora", "", Role.ADAPTER),
        ("docker", f"{DOCKER}gguf.v3.mmproj", "", Role.PROJECTOR),
        ("docker", f"{DOCKER}mmproj", "", Role.PROJECTOR),
        ("docker", f"{DOCKER}chat.template.jinja", "", Role.TEMPLATE),
        ("docker", f"{DOCKER}license", "", Role.LICENSE),
        ("docker v0.2", f"{DOCKER}model.file", "tokenizer.json", Role.OTHER),
        ("docker v0.2", f"{DOCKER}safetensors", "model.safetensors", Role.OTHER),
        ("cncf", f"{CNCF}weight.v1.gguf", "", Role.WEIGHTS),
        ("cncf", f"{CNCF}weight.v1.raw", "model-Q4.gguf", Role.WEIGHTS),
        ("cncf", f"{CNCF}weight.v1.raw", "mmproj-F16.gguf", Role.PROJECTOR),
        ("cncf", f"{CNCF}weight.v1.raw", "model.safetensors", Role.OTHER),
        ("cncf", f"{CNCF}doc.v1.raw", "LICENSE", Role.LICENSE),
        ("cncf", f"{CNCF}doc.v1.raw", "chat_template.jinja", Role.TEMPLATE),
        ("cncf", f"{CNCF}doc.v1.raw", "README.md", Role.OTHER),
        ("ollama", f"{OLLAMA}model", "", Role.WEIGHTS),
        ("ollama", f"{OLLAMA}projector", "", Role.PROJECTOR),
        ("ollama", f"{OLLAMA}adapter", "", Role.ADAPTER),
        ("ollama", f"{OLLAMA}template", "", Role.TEMPLATE),
        ("ollama", f"{OLLAMA}prompt", "", Role.TEMPLATE),
        ("ollama", f"{OLLAMA}system", "", Role.SYSTEM),
        ("ollama", f"{OLLAMA}params", "", Role.PARAMS),
        ("ollama", f"{OLLAMA}messages", "", Role.MESSAGES),
        ("ollama", f"{OLLAMA}license", "", Role.LICENSE),
    ],
)
def test_a_layer_of_any_tool_has_its_role(
    tool: str, media_type: str, name: str, role: Role
) -> None:
    manifest = parse_manifest(json_manifest(CONFIGS[tool], [(media_type, name)]))

    assert [layer.role for layer in manifest.layers] == [role]
    assert manifest.with_role(role) == list(manifest.layers)


@pytest.mark.parametrize("role", list(MEDIA_TYPES))
def test_what_we_write_we_read_with_the_same_role(role: Role) -> None:
    manifest = Manifest(config=descriptor(b"{}"), layers=(descriptor(b"x", role, "a/b.bin"),))

    parsed = parse_manifest(manifest.to_bytes())

    assert parsed == manifest
    assert parsed.layers[0].role is role
    assert parsed.to_bytes() == manifest.to_bytes()


def test_a_digest_that_is_named_twice_counts_once() -> None:
    manifest, config = manifest_of([b"weights", b"weights", b"more"])

    assert len(manifest.blobs) == 3
    assert manifest.size_bytes == len(config) + len(b"weightsmore")
    assert json.loads(config)["rootfs"]["diff_ids"] == [
        sha256(layer) for layer in (b"weights", b"weights", b"more")
    ]


def test_the_same_facts_are_the_same_config() -> None:
    facts = {"format": "gguf", "quantization": "Q8_0"}

    assert model_config(facts, ()) == model_config(dict(reversed(facts.items())), ())


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../b", "a//b", "C:\\x", "a\0b", "", ".", "\ud800", 7, []]
)
def test_a_file_name_that_would_leave_its_folder_is_dropped(name: object) -> None:
    value = descriptor(b"x").to_json() | {"annotations": {"org.cncf.model.filepath": name}}

    assert Descriptor.from_json(value).name is None


@pytest.mark.parametrize("name", ["model.gguf", "folder/模型.gguf", "..gguf", "a b"])
def test_a_file_name_within_its_folder_is_kept(name: str) -> None:
    value = descriptor(b"x").to_json() | {"annotations": {"org.opencontainers.image.title": name}}

    assert Descriptor.from_json(value).name == name


def broken_layers() -> list[Any]:
    good = descriptor(b"x").to_json()
    return [
        None,
        "layer",
        7,
        [],
        {},
        good | {"digest": "sha256:../../x"},
        good | {"digest": 7},
        good | {"digest": [good["digest"]]},
        good | {"size": -1},
        good | {"size": True},
        good | {"size": 1.5},
        good | {"size": "1"},
        good | {"size": 1 << 60},
        good | {"mediaType": 7},
        good | {"mediaType": ""},
        good | {"mediaType": "\ud800"},
        good | {"annotations": "x"},
        good | {"annotations": [1]},
    ]


@pytest.mark.parametrize("layer", broken_layers())
@pytest.mark.parametrize("place", ["config", "layers"])
def test_a_malformed_layer_is_an_integrity_error(layer: Any, place: str) -> None:
    value = json.loads(manifest_of([b"x"])[0].to_bytes())
    value[place] = layer if place == "config" else [layer]

    with pytest.raises(IntegrityError):
        parse_manifest(json.dumps(value).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schemaVersion": 2, "manifests": []}',
        b'{"config": {}, "layers": {}}',
        b'{"config": ' + b"9" * 5000 + b', "layers": []}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_what_is_no_manifest_is_an_integrity_error(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_manifest(content)


def test_two_sizes_of_one_digest_are_refused() -> None:
    value = json.loads(manifest_of([b"x", b"x"])[0].to_bytes())
    value["layers"][1]["size"] = 7

    with pytest.raises(IntegrityError, match="two sizes"):
        parse_manifest(json.dumps(value).encode())


def test_too_many_layers_are_refused() -> None:
    value = json.loads(manifest_of([])[0].to_bytes())
    value["layers"] = [value["config"]] * 10_001

    with pytest.raises(IntegrityError):
        parse_manifest(json.dumps(value).encode())


def test_a_role_with_more_layers_than_any_model_has_is_refused() -> None:
    value = json.loads(manifest_of([])[0].to_bytes())
    layer = value["config"] | {"mediaType": MEDIA_TYPES[Role.PROJECTOR]}
    value["layers"] = [layer] * 17

    with pytest.raises(IntegrityError, match="17 layers of the role projector"):
        parse_manifest(json.dumps(value).encode())


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_manifest_or_an_integrity_error(content: bytes) -> None:
    try:
        parse_manifest(content)
    except IntegrityError:
        return
    raise AssertionError(content)


@given(
    key=st.sampled_from(["schemaVersion", "mediaType", "config", "layers"]),
    field=st.sampled_from(["mediaType", "digest", "size", "annotations", None]),
    value=json_values,
)
def test_any_value_in_any_place_parses_to_the_same_again_or_is_refused(
    key: str, field: str | None, value: Any
) -> None:
    manifest = json.loads(manifest_of([b"x"])[0].to_bytes())
    if field is None:
        manifest[key] = value
    elif key == "layers":
        manifest[key][0][field] = value
    else:
        manifest["config"][field] = value

    try:
        parsed = parse_manifest(json.dumps(manifest).encode())
    except IntegrityError:
        return

    assert parse_manifest(parsed.to_bytes()) == parsed
