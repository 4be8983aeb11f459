"""Sounds of any length do not end the process in an encoder that takes them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from localrun.engine.media.whole_sounds import (
    FRAME_SAMPLES,
    MOST_SECONDS,
    TYPE,
    SoundLengths,
    read_sound_lengths,
)
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RATE = 24000


def write_kernels(path: Path) -> None:
    """Write an encoder whose kernels reach 16 frames, and one of eight frames at every fourth."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("clip.audio.projector_type", TYPE)
    writer.add_tensor("a.conv1d.0.weight", np.zeros((4, 2, 33), np.float16))
    writer.add_tensor("a.blk.1.res2.0.weight", np.zeros((2, 2, 3), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_short_sound_gets_silence_up_to_the_reach_of_the_kernels(tmp_path: Path) -> None:
    write_kernels(tmp_path / "projector.gguf")
    lengths = read_sound_lengths(tmp_path / "projector.gguf")

    assert lengths is not None
    assert lengths.least == 17 * FRAME_SAMPLES
    padded = lengths.padded(np.ones(3, np.float32), RATE)
    assert (len(padded), padded.sum()) == (lengths.least, 3)
    assert padded.dtype == np.float32
    assert len(lengths.padded(np.ones(5000, np.float32), RATE)) == 5000


def test_encoders_that_cut_sounds_take_any_length(
    pair_files: Callable[[str], tuple[Path, Path]],
) -> None:
    assert read_sound_lengths(pair_files("ultravox")[1]) is None


def test_a_sound_that_is_too_long_is_refused() -> None:
    samples = np.zeros(MOST_SECONDS * RATE + 1, np.float32)

    with pytest.raises(UsageError, match="longer than 30 seconds"):
        SoundLengths(least=1).padded(samples, RATE)
