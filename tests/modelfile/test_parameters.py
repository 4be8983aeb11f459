"""Parameters: names, values, ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localrun.engine.params import SamplingParams
from localrun.errors import UsageError
from localrun.modelfile.known import KNOWN, OTHER_NAMES, PARAMETERS
from localrun.modelfile.parameters import (
    ParameterError,
    ParameterValue,
    describe_values,
    find_parameter,
    format_parameter,
    parse_parameter,
)
from localrun.server.parsing.fields import Fields
from localrun.server.parsing.options import keep_alive, sampling
from tests.modelfile.profile import long_enough, many_examples

OLLAMA = (
    "num_ctx num_batch num_gpu main_gpu use_mmap num_thread draft_num_predict num_keep seed "
    "num_predict top_k top_p min_p typical_p repeat_last_n temperature repeat_penalty "
    "presence_penalty frequency_penalty stop penalize_newline low_vram f16_kv logits_all "
    "vocab_only use_mlock mirostat mirostat_tau mirostat_eta"
)


def fault(name: str, text: str) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        parse_parameter(name, text)
    return caught.value


@pytest.mark.parametrize("name", OLLAMA.split())
def test_all_of_ollamas_are_known(name: str) -> None:
    assert find_parameter(name).name == name


def test_names_are_told_once() -> None:
    assert len(KNOWN) == len(PARAMETERS)
    assert set(OTHER_NAMES.values()) <= set(KNOWN)
    assert not set(OTHER_NAMES) & set(KNOWN)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("num_ctx", "4096", 4096),
        ("num_ctx", "+4096.0", 4096),
        ("num_ctx", "1.048576e+06", 1048576),
        ("num_ctx", "32k", 32768),
        ("num_ctx", "1M", 1048576),
        ("yarn_orig_ctx", "128K", 131072),
        ("num_ctx", "\u00a04096\u200b", 4096),
        ("seed", "-9223372036854775807", -9223372036854775807),
        ("temperature", "1", 1.0),
        ("temperature", ".5", 0.5),
        ("temperature", "1.", 1.0),
        ("temperature", "7e-1", 0.7),
        ("temperature", "0x1p-2", 0.25),
        ("use_mmap", "T", True),
        ("use_mmap", "False", False),
        ("flash_attention", "ON", "on"),
        ("flash_attention", "true", "on"),
        ("flash_attention", "0", "off"),
        ("flash_attention", "auto", "auto"),
        ("kv_cache_type", "Q8_0", "q8_0"),
        ("keep_alive", "1h30m", "1h30m"),
        ("keep_alive", "-1", "-1"),
        ("stop", " \u00a0x\n", " \u00a0x\n"),
        ("stop", "", ""),
    ],
)
def test_a_value_has_the_type_of_its_parameter(name: str, text: str, value: ParameterValue) -> None:
    parsed = parse_parameter(name, text)

    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("num_ctx", "many"), ("num_ctx", ""), ("num_ctx", "4_096"), ("num_ctx", "4096.5"),
        ("num_ctx", "٤"), ("num_ctx", "-1k"), ("num_ctx", "0.5k"), ("num_batch", "1k"),
        ("num_ctx", "nan"), ("num_ctx", "1e999"), ("num_ctx", "9" * 5000),
        ("temperature", "inf"), ("temperature", "0xg"), ("temperature", "0x1p99999"),
        ("temperature", "1 2"), ("use_mmap", "maybe"), ("flash_attention", "fast"),
        ("kv_cache_type", "1"), ("keep_alive", "soon"), ("keep_alive", "1" * 10**6),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(name: str, text: str) -> None:
    error = fault(name, text)

    assert error.fault == "wrong-type"
    assert describe_values(KNOWN[name]) in error.message
    assert error.hint
    assert parse_parameter(name, error.hint.removeprefix(f"PARAMETER {name} ")) is not None


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("top_p", "1.01", "top_p is a number from 0 to 1"),
        ("temperature", "-0.1", "temperature is a number from 0 to 100"),
        ("num_ctx", "-1", "num_ctx is a whole number of at least 0, such as 32768 or 32k"),
        ("mirostat", "3", "mirostat is a whole number from 0 to 2"),
        ("seed", "9223372036854775808", "seed is a whole number"),
    ],
)
def test_out_of_range_says_the_range(name: str, text: str, expected: str) -> None:
    error = fault(name, text)

    assert (error.fault, error.hint) == ("out-of-range", expected)
    assert error.message == f"{name} is out of range: {text}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("temprature", "did you mean temperature?"),
        ("Temperature", "did you mean temperature?"),
        ("n_ctx", "did you mean num_ctx?"),
        ("max_tokens", "did you mean num_predict?"),
        ("x" * 10**6, "localrun help parameters"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name: str, expected: str) -> None:
    error = fault(name, "1")

    assert (error.fault, error.hint) == ("unknown-parameter", expected)
    assert len(error.message) < 80


def test_what_ollama_removed_is_refused_with_the_reason() -> None:
    assert fault("tfs_z", "1").fault == "removed-parameter"
    assert "removed" in fault("numa", "true").message


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=1e9))
@many_examples
@long_enough
def test_a_number_written_and_read_is_the_same(value: float) -> None:
    assert parse_parameter("rope_frequency_base", format_parameter(value)) == value


def accepts(name: str, value: float) -> bool:
    """Return whether the API takes the number."""
    try:
        sampling(Fields({name: value}))
    except UsageError:
        return False
    return True


@pytest.mark.parametrize("name", ["temperature", "top_k", "top_p", "min_p"])
def test_ranges_are_those_of_the_api(name: str) -> None:
    parameter = KNOWN[name]

    assert hasattr(SamplingParams(), name)
    assert accepts(name, parameter.low)
    assert accepts(name, parameter.high)
    assert not accepts(name, parameter.low - 1)
    assert not accepts(name, parameter.high + 1 if parameter.kind == "float" else 2.0**65)


@pytest.mark.parametrize("text", ["90", "10m", "-1", "0"])
def test_the_api_reads_the_same_durations(text: str) -> None:
    assert keep_alive(Fields({"keep_alive": parse_parameter("keep_alive", text)})) is not None
