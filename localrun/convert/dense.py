"""Dense layers of sentence-transformers behind the pooling, which EmbeddingGemma has.

2_Dense/config.json          {"in_features": 768, "out_features": 3072, "bias": false, ...}
2_Dense/model.safetensors    linear.weight    ->  dense_2.weight
3_Dense/...                                   ->  dense_3.weight
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.config import Config
from localrun.convert.safetensors import MODEL_FILE, read_file
from localrun.errors import IntegrityError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import gguf

    from localrun.convert.safetensors import SafetensorsTensor

MODULES = {"2_Dense": "dense_2", "3_Dense": "dense_3"}
IDENTITY = "torch.nn.modules.linear.Identity"
WEIGHT = "linear.weight"


def read_dense(folder: Path, writer: gguf.GGUFWriter) -> dict[str, SafetensorsTensor]:
    """Return the matrices under the names of GGUF's map, and write their sizes.

    Raises:
        UsageError: a layer has more than a matrix.
        IntegrityError: a file is damaged or contradicts another.
    """
    found = {}
    for path, name in MODULES.items():
        inner = folder / path
        if not inner.is_dir() or inner.is_symlink():
            continue
        file = folders.require(inner, "config.json")
        config = Config(folders.read_json(file), str(file))
        activation = config.text("activation_function", IDENTITY)
        tensors = read_file(folders.require(inner, MODEL_FILE))
        if activation != IDENTITY or set(tensors) != {WEIGHT}:
            raise UsageError(f"{inner} is more than a matrix, which cannot be converted")
        sizes = (config.count("out_features"), config.count("in_features"))
        if tensors[WEIGHT].shape != sizes:
            raise IntegrityError(f"{inner}: the matrix has the shape {tensors[WEIGHT].shape}")
        writer.add_dense_features_dims(name, sizes[1], sizes[0])
        found[f"{name}.weight"] = tensors[WEIGHT]
    return found
