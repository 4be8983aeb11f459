from __future__ import annotations

import json

import pytest

from localrun.errors import IntegrityError, UsageError
from localrun.remote.model import (
    EngineKind,
    RemoteModel,
    RemoteTarget,
    checked_capabilities,
    checked_variable,
    is_loopback,
    remote_address,
)

MODEL = RemoteModel(
    addresses=(remote_address("https://gpu1:8000/v1/", "Qwen/Qwen3-32B"),),
    key_file="/home/me/key",
    engine=EngineKind.VLLM,
    context_length=40960,
)


def test_a_layer_is_canonical_and_is_read_back() -> None:
    assert RemoteModel.from_bytes(MODEL.to_bytes()) == MODEL
    assert list(json.loads(MODEL.to_bytes())) == sorted(json.loads(MODEL.to_bytes()))


def test_a_url_without_a_path_means_the_usual_one() -> None:
    assert remote_address("http://gpu1:8000", "m").url == "http://gpu1:8000/v1"
    assert remote_address("http://gpu1:8000/", "m").url == "http://gpu1:8000/v1"
    assert remote_address("http://gpu1/api/", "m").url == "http://gpu1/api"


@pytest.mark.parametrize(
    "url",
    [
        "gpu1:8000",
        "ftp://gpu1/v1",
        "http:///v1",
        "http://gpu1:x/v1",
        "http://gpu1:0/v1",
        "http://gpu1/v1 x",
        "http://gpu1\\@evil/v1",
        "http://gpu1/v1\n",
        "http://" + "x" * 3000,
        "http://gpü1/v1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not an address"):
        remote_address(url, "m")


@pytest.mark.parametrize(
    "url", ["https://me:secret@gpu1/v1", "https://gpu1/v1?api-key=secret", "https://gpu1/v1#secret"]
)
def test_a_secret_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        remote_address(url, "m")

    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    assert "--key-file" in str(caught.value.hint)


def test_a_key_in_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        checked_variable("sk-proj-1234")

    assert "sk-proj" not in f"{caught.value.message} {caught.value.hint}"


def test_a_target_shows_no_key() -> None:
    assert "hush" not in repr(RemoteTarget(name="big", model=MODEL, key="hush"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"addresses": []}',
        b'{"addresses": [{"url": "http://a", "model": 5}]}',
        b'{"addresses": [{"url": "file:///etc", "model": "m"}]}',
        b'{"addresses": [{"url": "http://a", "model": "m"}], "engine": "later"}',
        b'{"addresses": [{"url": "http://a", "model": "m"}], "key_file": 5}',
        b'{"addresses": [{"url": "http://a", "model": "m"}], "context_length": -1}',
        b'{"addresses": [{"url": "http://a", "model": "m"}], "capabilities": ["fly"]}',
        json.dumps({"addresses": [{"url": "http://a", "model": "m"}] * 33}).encode(),
    ],
)
def test_a_malformed_layer_is_a_damaged_model(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        RemoteModel.from_bytes(content)


def test_fields_of_later_versions_are_ignored() -> None:
    value = MODEL.to_json() | {"later": 1}

    assert RemoteModel.from_json(value) == MODEL


def test_capabilities_have_one_order_and_exclude_each_other() -> None:
    assert checked_capabilities(["tools", "completion"]) == ("completion", "tools")
    with pytest.raises(UsageError):
        checked_capabilities(["completion", "embedding"])
    with pytest.raises(UsageError):
        checked_capabilities([])


def test_loopback_is_known_without_a_lookup() -> None:
    here = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "a.localhost")
    there = ("10.0.0.1", "gpu1", "localhost.example", "127.0.0.1.nip.io", "0.0.0.0", "")  # noqa: S104 - an address

    assert all(map(is_loopback, here))
    assert not any(map(is_loopback, there))
