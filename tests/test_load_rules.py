"""What the server's environment says of loads."""

from __future__ import annotations

import pytest

from localrun.engine.params import CacheType
from localrun.errors import UsageError
from localrun.load_rules import CACHE_TYPES, DEFAULT_PARALLEL, LoadRules, read_load_rules
from localrun.settings import load_settings


def test_an_empty_environment_leaves_everything_to_the_plan() -> None:
    names = ("CONTEXT_LENGTH", "NUM_PARALLEL", "MAX_MODELS", "KV_CACHE_TYPE", "FLASH_ATTENTION",
             "GPU_RESERVE", "LOAD_TIMEOUT", "READING_SPEED")  # fmt: skip

    assert read_load_rules({}) == LoadRules()
    assert read_load_rules({f"LOCALRUN_{name}": " " for name in names}) == LoadRules()


def test_every_rule_is_read() -> None:
    said = {
        "LOCALRUN_CONTEXT_LENGTH": "32768",
        "LOCALRUN_NUM_PARALLEL": "1",
        "LOCALRUN_MAX_MODELS": "2",
        "LOCALRUN_KV_CACHE_TYPE": "Q8_0",
        "LOCALRUN_FLASH_ATTENTION": "1",
        "LOCALRUN_GPU_RESERVE": "1.5G",
        "LOCALRUN_LOAD_TIMEOUT": "90s",
        "LOCALRUN_READING_SPEED": "25",
    }

    assert load_settings(said).loads == LoadRules(
        num_ctx=32768,
        num_parallel=1,
        cache_type="q8_0",
        flash_attention=True,
        gpu_reserve_bytes=1_500_000_000,
        max_models=2,
        timeout_s=90,
        reading_speed=25,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("CONTEXT_LENGTH", "32q"),
        ("CONTEXT_LENGTH", "1.5k"),
        ("CONTEXT_LENGTH", "129M"),
        ("NUM_PARALLEL", "0"),
        ("NUM_PARALLEL", "129"),
        ("MAX_MODELS", "-1"),
        ("KV_CACHE_TYPE", "q3"),
        ("FLASH_ATTENTION", "maybe"),
        ("GPU_RESERVE", "yes"),
        ("GPU_RESERVE", "-1"),
        ("LOAD_TIMEOUT", "soon"),
        ("READING_SPEED", "0"),
        ("READING_SPEED", "fast"),
        ("DEBUG", "3"),
    ],
)
def test_a_wrong_value_names_its_variable_and_itself(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"LOCALRUN_{name} .*{text}") as caught:
        load_settings({f"LOCALRUN_{name}": text})

    assert caught.value.hint


def test_zero_means_the_default_or_no_limit() -> None:
    names = ("CONTEXT_LENGTH", "MAX_MODELS", "GPU_RESERVE", "LOAD_TIMEOUT")
    rules = read_load_rules({f"LOCALRUN_{name}": "0" for name in names})

    assert rules == LoadRules(timeout_s=None)
    assert read_load_rules({"LOCALRUN_LOAD_TIMEOUT": "-1"}).timeout_s is None
    assert rules.num_parallel == DEFAULT_PARALLEL


@pytest.mark.parametrize(
    ("text", "num_ctx"), [("32k", 32768), ("128K", 131072), ("1M", 1048576), ("0k", None)]
)
def test_a_context_may_have_a_unit(text: str, num_ctx: int | None) -> None:
    assert read_load_rules({"LOCALRUN_CONTEXT_LENGTH": text}).num_ctx == num_ctx


def test_a_plain_reserve_is_in_bytes() -> None:
    assert read_load_rules({"LOCALRUN_GPU_RESERVE": "1"}).gpu_reserve_bytes == 1
    assert read_load_rules({"LOCALRUN_GPU_RESERVE": "1073741824"}).gpu_reserve_bytes == 2**30


def test_a_quantized_cache_without_flash_attention_is_refused_at_once() -> None:
    said = {"LOCALRUN_KV_CACHE_TYPE": "q4_0", "LOCALRUN_FLASH_ATTENTION": "0"}

    with pytest.raises(UsageError, match="LOCALRUN_KV_CACHE_TYPE=q4_0 needs flash attention"):
        read_load_rules(said)
    assert read_load_rules(said | {"LOCALRUN_KV_CACHE_TYPE": "bf16"}).flash_attention is False
    assert read_load_rules(said | {"LOCALRUN_FLASH_ATTENTION": "auto"}).cache_type == "q4_0"


def test_the_cache_types_are_those_of_the_engine() -> None:
    assert set(CACHE_TYPES) == {kind.value for kind in CacheType}


@pytest.mark.parametrize(
    ("text", "level"), [("", 0), ("0", 0), ("off", 0), ("1", 1), ("true", 1), ("2", 2)]
)
def test_debug_has_two_levels(text: str, level: int) -> None:
    assert load_settings({"LOCALRUN_DEBUG": text}).debug == level
