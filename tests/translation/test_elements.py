"""Numbers of tensors as F32."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from localrun.errors import IntegrityError
from localrun.translation.elements import floats, regrouped, resized

VALUES = np.linspace(-2, 2, 64, dtype=np.float32)


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_0"])
def test_numbers_of_many_types_are_read(kind: str) -> None:
    known = GGMLQuantizationType[kind]
    content = quantize(VALUES, known)

    found = floats(known, content.tobytes())

    assert np.array_equal(found, dequantize(content, known).reshape(-1))
    assert np.allclose(found, VALUES, atol=0.2)


def test_numbers_of_a_type_without_a_decoder_are_refused() -> None:
    with pytest.raises(IntegrityError, match="I8"):
        floats(GGMLQuantizationType.I8, bytes(8))


def test_a_square_keeps_its_corners_and_its_slopes() -> None:
    across, down = np.meshgrid(np.arange(5.0), np.arange(5.0))
    rows = np.stack([across, down], axis=-1).reshape(25, 2).astype(np.float32)

    smaller = resized(rows, 3).reshape(3, 3, 2)

    assert np.array_equal(smaller[..., 0], [[0, 2, 4]] * 3)
    assert np.array_equal(smaller[..., 1], np.transpose([[0, 2, 4]] * 3))
    assert np.array_equal(resized(rows, 5), rows)
    assert resized(rows, 1).tolist() == [[0, 0]]


def test_mxfp4_is_put_into_ggmls_order() -> None:
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6] * 4, np.float32) * np.float32(0.5)
    content = quantize(values.reshape(1, 32), GGMLQuantizationType.MXFP4).reshape(-1)
    numbers = np.concatenate([content[1:] & 0x0F, content[1:] >> 4])  # in their order
    old = bytes([content[0]]) + (numbers[0::2] | numbers[1::2] << 4).tobytes()

    assert regrouped(old * 3) == content.tobytes() * 3
    assert regrouped(old) != old


def test_an_old_type_is_not_widened() -> None:
    with pytest.raises(IntegrityError, match="type 4 cannot"):
        floats(4, bytes(17))
