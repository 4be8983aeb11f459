"""Write golden/*.json: what transformers and llama.cpp's own converter make of the checkpoints.

    pip install torch transformers sentencepiece
    python -m tests.convert.oracle.generate LLAMA_CPP_SOURCES [FAMILY...]

The pre-tokenizer's name is given, because llama.cpp's converter knows real tokenizers only.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.convert.oracle.checkpoints import PROMPT, weights, write_checkpoint
from tests.convert.oracle.families import (
    CONFIGS,
    ENCODERS,
    FAMILIES,
    HANDMADE,
    PACKED,
    PREDICTING,
    PUBLISHED,
    QUANTIZED,
    RENAMED,
    SEEING,
    TRANSPOSED,
    USUAL,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.convert.writing import Array

GOLDEN = Path(__file__).parent / "golden"
PRE = "qwen2"


def main() -> None:
    sources, *wanted = sys.argv[1:]
    os.environ["NO_LOCAL_GGUF"] = "1"
    sys.path[:0] = [sources, str(Path(sources, "gguf-py"))]
    GOLDEN.mkdir(exist_ok=True)
    for name in wanted or (*FAMILIES, *SEEING, *ENCODERS, *HANDMADE):
        with tempfile.TemporaryDirectory() as scratch:
            known = (_handmade if name in HANDMADE else _expected)(name, Path(scratch))
        (GOLDEN / f"{name}.json").write_text(json.dumps(known, indent=0, sort_keys=True) + "\n")
        sys.stdout.write(f"{name}\n")


def _handmade(name: str, scratch: Path) -> dict[str, Any]:
    config, shapes = HANDMADE[name]
    folder = write_checkpoint(scratch / "model", config, weights(shapes))
    keys, tensors = _converted(folder, is_raw=True, mtp=False)
    return {"config": config, "shapes": shapes, "keys": keys, "tensors": tensors}


def _expected(name: str, scratch: Path) -> dict[str, Any]:
    import torch
    import transformers

    torch.manual_seed(1)
    is_seeing, is_encoder = name in SEEING, name in ENCODERS
    prefix, changes = {**FAMILIES, **SEEING, **ENCODERS}[name]
    text_class = f"{prefix}Config" if is_seeing else CONFIGS.get(prefix, f"{prefix}Config")
    config_class = getattr(transformers, text_class)
    suffix = "Model" if is_encoder else "ForConditionalGeneration" if is_seeing else "ForCausalLM"
    model_class = getattr(transformers, f"{prefix}{suffix}")
    settings = changes if is_seeing else {**USUAL, **changes}
    model_class(config_class(**settings)).save_pretrained(scratch / "random")
    config = json.loads((scratch / "random" / "config.json").read_text())
    shapes = _shapes(scratch / "random" / "model.safetensors")
    for old, new in RENAMED.get(name, {}).items():
        shapes = {key.replace(old, new): shape for key, shape in shapes.items()}
    if name in PREDICTING:
        config["mtp_num_hidden_layers"] = 1
        shapes |= predictor(shapes)
    if name in QUANTIZED:
        config["quantization_config"] = QUANTIZED[name]
        kinds = {"mxfp4": packed, "nvfp4": halved, "fp8": scaled}
        shapes = next(kinds[kind] for kind in kinds if kind in name)(shapes)
    folder = write_checkpoint(scratch / "model", config, weights(shapes))
    if "nvfp4" in name:  # which transformers does not read
        plain = {k: v for k, v in config.items() if k != "quantization_config"}
        folder_read = write_checkpoint(
            scratch / "plain", plain, multiplied(weights(shapes)), exact=True
        )
    else:
        folder_read = folder
    model = model_class.from_pretrained(folder_read, dtype=torch.float32).float().eval()
    with torch.no_grad():
        outputs = model(torch.tensor([PROMPT]))
        if is_encoder:
            mean = outputs.last_hidden_state[0].mean(0)
            values = mean / mean.norm()
        else:
            values = outputs.logits[0, -1]
    if name in TRANSPOSED:
        folder = write_checkpoint(scratch / "published", config, published(weights(shapes)))
    if name in PUBLISHED:
        changed = {**config, **PUBLISHED[name]}
        kept = ("rotary_emb_scale_base", "position_embedding_type")
        config = {key: value for key, value in changed.items() if value is not None or key in kept}
        folder = write_checkpoint(scratch / "published", config, weights(shapes))
    projector = _projector(folder) if is_seeing else None
    keys, tensors = _converted(folder, is_raw=name in PUBLISHED, mtp=name in PREDICTING)
    return {
        "config": config,
        "shapes": shapes,
        "embedding" if is_encoder else "logits": [round(float(value), 5) for value in values],
        "projector": projector,
        "keys": keys,
        "tensors": tensors,
    }


def predictor(shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes of one layer more, which predicts the token after the next."""
    last = "model.layers.3."
    layer = {name.replace(last, "mtp.layers.0."): shape for name, shape in shapes.items()
             if name.startswith(last)}  # fmt: skip
    size = shapes["model.norm.weight"][0]
    norms = ("norm", "pre_fc_norm_embedding", "pre_fc_norm_hidden")
    return {**layer, "mtp.fc.weight": [size, 2 * size],
            **{f"mtp.{norm}.weight": [size] for norm in norms}}  # fmt: skip


def packed(shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes of blocks and scales in place of the experts' matrices."""
    found: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        if name.endswith(PACKED):
            experts, columns, rows = shape
            groups = [experts, rows, columns // 32]
            found |= {f"{name}_blocks": [*groups, 16], f"{name}_scales": groups}
        else:
            found[name] = shape
    return found


def scaled(shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes with those of the scales of the layers' matrices."""
    found = dict(shapes)
    for name, shape in shapes.items():
        if ".layers." in name and name.endswith("_proj.weight"):
            found[f"{name}_scale_inv"] = [-(-size // 128) for size in shape]
    return found


def halved(shapes: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return the shapes with those of NVFP4 for the layers' matrices."""
    found: dict[str, list[int]] = {}
    for name, shape in shapes.items():
        found[name] = shape
        if ".layers." in name and name.endswith("_proj.weight"):
            rows, columns = shape
            found[name] = [rows, columns // 2]
            found[f"{name}_scale"] = [rows, columns // 16]
            found[f"{name}_scale_2"] = found[f"{name.removesuffix('weight')}input_scale"] = []
    return found


def multiplied(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return weights with the values of matrices in NVFP4."""
    from tests.convert.quantized.matrices import nvfp4_values

    found = {}
    for name, array in tensors.items():
        if f"{name}_scale_2" in tensors:
            found[name] = nvfp4_values(array, tensors[f"{name}_scale"], tensors[f"{name}_scale_2"])
        elif not name.endswith(("_scale", "_scale_2", "input_scale")):
            found[name] = array
    return found


def published(tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return weights with the packed experts transposed."""
    return {
        name: np.ascontiguousarray(array.swapaxes(-1, -2)) if name.endswith(PACKED) else array
        for name, array in tensors.items()
    }


def _shapes(path: Path) -> dict[str, list[int]]:
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    header.pop("__metadata__", None)
    return {name: entry["shape"] for name, entry in sorted(header.items())}


def _converted(
    folder: Path, *, is_raw: bool, mtp: bool
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    import gguf
    import torch
    import transformers
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    from conversion.base import TextModel

    transformers.AutoTokenizer.from_pretrained = (  # its classes add tokens of real models
        transformers.PreTrainedTokenizerFast.from_pretrained
    )
    TextModel.get_vocab_base_pre = lambda *_: PRE
    target = folder / "converted.gguf"
    with torch.inference_mode():
        if is_raw:  # this version of transformers renames values that the converter looks for
            transformers.AutoConfig.from_pretrained = _unknown
            sys.modules["conversion.base"].AutoConfig.from_pretrained = _unknown
        settings = ModelBase.load_hparams(folder, is_mistral_format=False)
        converter = get_model_class(get_model_architecture(settings, ModelType.TEXT))
        converter.no_mtp = not mtp
        converter.set_vocab = lambda self: self._set_vocab_gpt2()
        converter._is_tokenizer_xlmroberta = lambda _: False
        converter(folder, gguf.LlamaFileType.GUESSED, target).write()
    return described(target)


def _projector(folder: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    import gguf
    import torch
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class

    target = folder / "projector.gguf"
    with torch.inference_mode():
        settings = ModelBase.load_hparams(folder, is_mistral_format=False)
        name = get_model_architecture(settings, ModelType.MMPROJ)
        converter = get_model_class(name, mmproj=True)
        converter(folder, gguf.LlamaFileType.GUESSED, target).write()
    return described(target)


def _unknown(*_: object, **__: object) -> None:
    raise ValueError("config.json itself is read")


def described(path: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the architecture's keys, and type, shape and digest of each tensor."""
    import gguf

    reader = gguf.GGUFReader(path)
    others = ("general.", "tokenizer.", "GGUF.")
    keys = {
        name: field.contents()
        for name, field in reader.fields.items()
        if not name.startswith(others)
    }
    tensors = {
        tensor.name: [
            tensor.tensor_type.name,
            [int(size) for size in tensor.shape],
            hashlib.sha256(tensor.data.tobytes()).hexdigest()[:16],
        ]
        for tensor in reader.tensors
    }
    return keys, tensors


if __name__ == "__main__":
    main()
