from __future__ import annotations

import ctypes
import re

import llama_cpp

from localrun.engine.llama.placement import TensorSplit, _Override


def test_shares_and_experts_reach_llama_cpp() -> None:
    params = llama_cpp.llama_model_default_params()
    split = TensorSplit((20.0, 13.0), 2)

    split.apply(params)

    assert params.tensor_split[:3] == [20.0, 13.0, 0.0]
    first, end = ctypes.cast(params.tensor_buft_overrides, ctypes.POINTER(_Override))[:2]
    assert end.pattern is None
    assert first.buffer_type
    pattern = re.compile(first.pattern.decode())
    assert pattern.search("blk.1.ffn_up_exps.weight")
    assert not pattern.search("blk.2.ffn_up_exps.weight")
    assert not pattern.search("blk.12.ffn_up_exps.weight")
    assert not pattern.search("blk.1.ffn_up_shexp.weight")


def test_nothing_is_said_of_an_even_split() -> None:
    params = llama_cpp.llama_model_default_params()

    TensorSplit().apply(params)

    assert not params.tensor_split
    assert params.tensor_buft_overrides is None
