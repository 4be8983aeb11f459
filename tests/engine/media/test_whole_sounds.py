"""Sounds of any length do not end the process in an encoder that takes them whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gguf
import numpy as np
import pytest

from localrun.engine.media.chunk import MediaChunk
from localrun.engine.media.whole_sounds import (
    FRAME_SAMPLES,
    MOST_SECONDS,
    SoundLengths,
    sound_lengths,
)
from localrun.errors import UsageError
from localrun.gguf.header import read_header
from localrun.hardware.projector import WHOLE_SOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.media.conftest import OpenPair


def test_a_short_sound_gets_silence_up_to_the_reach_of_the_kernels(
    pair_files: Callable[[str], tuple[Path, Path]],
) -> None:
    lengths = sound_lengths(read_header(pair_files("guide")[1]))

    assert lengths is not None
    assert lengths.least == 17 * FRAME_SAMPLES  # a kernel of 33 frames
    padded = lengths.padded(np.ones(3, np.float32), 24000)
    assert (len(padded), padded.sum()) == (lengths.least, 3)
    assert padded.dtype == np.float32
    assert len(lengths.padded(np.ones(5000, np.float32), 24000)) == 5000


def test_encoders_that_cut_sounds_take_any_length(
    pair_files: Callable[[str], tuple[Path, Path]],
) -> None:
    assert sound_lengths(read_header(pair_files("ultravox")[1])) is None


def test_dilated_kernels_reach_further_than_they_are_long(tmp_path: Path) -> None:
    path = tmp_path / "projector.gguf"
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_string("clip.audio.projector_type", WHOLE_SOUNDS)
    writer.add_tensor("a.conv1d.0.weight", np.zeros((4, 2, 9), np.float16))
    writer.add_tensor("a.blk.1.res2.0.weight", np.zeros((2, 2, 5), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    assert sound_lengths(read_header(path)) == SoundLengths(least=9 * FRAME_SAMPLES)


@pytest.mark.parametrize("num_samples", [1, 300, 17 * FRAME_SAMPLES - 1, 24000])
def test_guide_hears_a_sound_of_any_length_as_one_token(
    open_family: OpenPair, num_samples: int
) -> None:
    pair = open_family("guide")
    samples = np.sin(np.arange(num_samples, dtype=np.float32))

    (chunk,) = pair.parts(samples)
    assert isinstance(chunk, MediaChunk)
    embeddings = pair.projector.encode(chunk, lambda: True)

    assert embeddings is not None
    assert embeddings.shape == (1, pair.projector.width)
    assert np.isfinite(embeddings).all()


def test_a_sound_that_is_too_long_is_refused(open_family: OpenPair) -> None:
    projector = open_family("guide").projector
    samples = np.zeros(MOST_SECONDS * projector.sample_rate + 1, np.float32)

    with pytest.raises(UsageError, match="longer than 30 seconds"):
        projector.tokenize_audio(samples)
