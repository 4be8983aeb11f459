"""The projector's file has two encoders, each of which is replaced without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader
from guide.projector_file import Part, stored, write_part

from localrun.gguf.header import read_header

if TYPE_CHECKING:
    from pathlib import Path

    from guide.projector_file import Kind

TENSORS: dict[Kind, tuple[str, ...]] = {
    "vision": ("v.blk.0.weight", "mm.0.weight"),
    "audio": ("a.blk.1.weight", "mm.a.fc.weight"),
}


def encoder(kind: Kind, seed: int, **figures: float) -> Part:
    rng = np.random.default_rng(seed)
    values = {name: rng.random((2, 32), np.float32) for name in TENSORS[kind]}
    return Part(
        kind=kind,
        type=f"{kind}{seed}",
        numbers={"block_count": seed, "image_mean": [0.5, 0.5]},
        tensors={name: stored(v, GGMLQuantizationType.Q8_0) for name, v in values.items()},
        figures=figures,
    )


def bytes_by_name(path: Path, kind: Kind) -> dict[str, bytes]:
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    return {name: tensors[name].data.tobytes() for name in TENSORS[kind]}


def test_an_encoder_is_replaced_and_the_other_stays(tmp_path: Path) -> None:
    path = tmp_path / "projector.gguf"
    write_part(path, encoder("vision", 1, digits=0.5))
    write_part(path, encoder("audio", 2, words=0.25))
    seen, heard = bytes_by_name(path, "vision"), bytes_by_name(path, "audio")

    write_part(path, encoder("audio", 3, sentences=0.75))

    metadata = read_header(path).metadata
    assert bytes_by_name(path, "vision") == seen
    assert bytes_by_name(path, "audio") != heard
    assert metadata["clip.vision.projector_type"] == "vision1"
    assert metadata["clip.audio.projector_type"] == "audio3"
    assert metadata["clip.vision.image_mean"] == [0.5, 0.5]
    assert metadata["guide.eval.vision.digits"] == 0.5
    assert metadata["guide.eval.audio.sentences"] == 0.75
    assert "guide.eval.audio.words" not in metadata
    assert "clip.projector_type" not in metadata  # it would be the type of both


def test_a_file_without_the_other_encoder_has_one(tmp_path: Path) -> None:
    path = tmp_path / "projector.gguf"

    write_part(path, encoder("audio", 1))

    assert "clip.has_vision_encoder" not in read_header(path).metadata
    assert set(read_header(path).tensors) == set(TENSORS["audio"])
