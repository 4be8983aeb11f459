from __future__ import annotations

import pytest

from localrun.hardware.architectures import is_known, unknown_architecture


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt-oss", "bert", "gemma3"])
def test_architectures_of_llama_cpp_are_known(name: str) -> None:
    assert is_known(name)
    assert unknown_architecture(name) is None


@pytest.mark.parametrize("name", ["gptoss", "no-such-thing", "", "a\0b", "x" * 1000, "\ud800"])
def test_others_are_not(name: str) -> None:
    assert not is_known(name)
    sentence = unknown_architecture(name)
    assert sentence is not None
    assert len(sentence) < 200
