from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.errors import UsageError
from localrun.remote.model import (
    KNOWN_CAPABILITIES,
    EngineKind,
    RemoteAddress,
    RemoteModel,
    remote_address,
)
from localrun.remote.source import format_sources, is_remote_source, parse_engine, parse_sources

HERE = Path("/recipes")


def parsed(*sources: str) -> RemoteModel:
    return parse_sources(sources, HERE)


def test_the_id_of_the_model_follows_the_version() -> None:
    model = parsed("remote+https://gpu1:8000/v1/Qwen/Qwen3-32B")

    assert model.first == RemoteAddress(url="https://gpu1:8000/v1", model="Qwen/Qwen3-32B")
    assert model.engine is EngineKind.COMPATIBLE


def test_options_follow_in_the_fragment() -> None:
    model = parsed(
        "remote+http://10.0.0.7:9000/api#model=a%20b&key-file=keys/one&engine=vllm&context=4096"
    )

    assert model.first == RemoteAddress(url="http://10.0.0.7:9000/api", model="a b")
    assert model.key_file == "/recipes/keys/one"
    assert (model.engine, model.context_length) == (EngineKind.VLLM, 4096)


def test_several_lines_are_several_addresses() -> None:
    model = parsed("remote+http://a/v1/m#key-env=KEY", "remote+http://b/v1/n#engine=sglang")

    assert [(each.url, each.model) for each in model.addresses] == [
        ("http://a/v1", "m"),
        ("http://b/v1", "n"),
    ]
    assert (model.key_env, model.engine) == ("KEY", EngineKind.SGLANG)


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["remote+https://gpu1/v1"], "names no model"),
        (["remote+https://gpu1/v1/"], "names no model"),
        (["remote+https://gpu1/v1/m#size=3"], "not an option"),
        (["remote+https://gpu1/v1/m#engine=warp"], "not a kind of engine"),
        (["remote+https://gpu1/v1/m#context=-1"], "not a number"),
        (["remote+https://gpu1/v1/m#context=0"], "not a number"),
        (["remote+https://gpu1/v1/m#key-env=A&key-env=B"], "given twice"),
        (["remote+https://gpu1/v1/m#key-env=A&key-file=B"], "one key"),
        (["remote+https://gpu1/v1/m#key-env=sk-123"], "not a key"),
        (["remote+ssh://gpu1/v1/m"], "not an address"),
        (["remote+https://me:pw@gpu1/v1/m"], "login"),
        (["remote+http://a/v1/m", "guide"], "cannot be combined"),
        (["remote+http://a/v1/m#engine=vllm", "remote+http://b/v1/m#engine=tgi"], "different"),
        (["remote+http://a/v1/m#key-env=A", "remote+http://b/v1/m#key-file=B"], "one key"),
        (["remote+http://a/v1/" + "x" * 10_000], "too long"),
        ([f"remote+http://a{n}/v1/m" for n in range(33)], "at most 32"),
    ],
)
def test_a_wrong_line_is_one_error(sources: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*sources)

    assert words in caught.value.message
    assert "sk-123" not in caught.value.message


def test_only_the_prefix_means_a_remote_model() -> None:
    assert is_remote_source("remote+https://gpu1/v1/m")
    assert not is_remote_source("https://gpu1/v1/m")
    assert not is_remote_source("./remote+x")


def test_kinds_of_engines_are_named() -> None:
    assert parse_engine("llama-server") is EngineKind.LLAMA_SERVER


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20
)
URLS = st.sampled_from(
    ["https://gpu1:8000/v1", "http://10.0.0.7/api", "http://[::1]:80/v1", "http://v1/a/v1/b/v1"]
)


@given(
    st.lists(st.builds(remote_address, URLS, NAMES), min_size=1, max_size=4, unique=True),
    st.sampled_from([(None, None), ("/keys/a&b=c #d", None), (None, "GPU_KEY")]),
    st.sampled_from(EngineKind),
    st.sampled_from([("completion", "tools"), ("embedding",), KNOWN_CAPABILITIES[:4]]),
    st.none() | st.integers(1, 10**9),
)
def test_a_remote_model_is_written_as_it_is_read(
    addresses: list[RemoteAddress],
    key: tuple[str | None, str | None],
    engine: EngineKind,
    capabilities: tuple[str, ...],
    context: int | None,
) -> None:
    model = RemoteModel(
        addresses=tuple(addresses),
        key_file=key[0],
        key_env=key[1],
        engine=engine,
        capabilities=capabilities,
        context_length=context,
    )

    assert parse_sources(format_sources(model), HERE) == model
