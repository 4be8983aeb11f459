"""Whether a file has all that its header promises."""

from __future__ import annotations

import ctypes

import pytest
from llama_cpp import llama_cpp as api

from localrun.errors import IntegrityError
from localrun.gguf.data import TENSOR_TYPES, TensorType, check_data, tensor_bytes
from localrun.gguf.header import GgufTensor, Header, read_header
from localrun.store.store import embedded_models


@pytest.mark.parametrize(("number", "kind"), TENSOR_TYPES.items())
def test_the_table_agrees_with_ggml(number: int, kind: TensorType) -> None:
    library = api._lib
    library.ggml_type_name.restype = ctypes.c_char_p
    library.ggml_type_size.restype = ctypes.c_size_t
    library.ggml_blck_size.restype = ctypes.c_int64

    assert library.ggml_type_name(number).decode().upper() == kind.name
    assert library.ggml_blck_size(number) == kind.num_numbers
    assert library.ggml_type_size(number) == kind.num_bytes


def test_the_last_byte_of_guide_is_its_last_tensors() -> None:
    path = embedded_models()["guide:latest"]
    header = read_header(path)
    ends = [
        header.data_start + tensor.offset + (tensor_bytes(tensor) or 0)
        for tensor in header.tensors.values()
    ]

    check_data(header, path.stat().st_size)
    check_data(header, max(ends))
    with pytest.raises(IntegrityError, match=f"ends at byte {max(ends)}, the file at"):
        check_data(header, max(ends) - 1)


def test_a_row_that_is_no_whole_number_of_blocks_is_refused() -> None:
    with pytest.raises(IntegrityError, match="rows of 100, which Q4_0 cannot store"):
        check_data(Header({}, {"t": GgufTensor((100, 2), 2, 0)}, 32), 1 << 20)


def test_a_newer_type_is_checked_by_its_place_alone() -> None:
    header = Header({}, {"t": GgufTensor((100, 2), 99, 4096)}, 32)

    assert tensor_bytes(header.tensors["t"]) is None
    check_data(header, 4128)
    with pytest.raises(IntegrityError, match="ends at byte 4128"):
        check_data(header, 4127)
