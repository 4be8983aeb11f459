"""Tiny random projectors in llama.cpp's layout, and the same as parts of Ollama's files.

The old layout is made from the new one: keys with ``.vision.`` of the family, names by a table,
tensors divided and reordered as its old engine had them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gguf import GGUFValueType, GGUFWriter

from tests.engine.tiny import WIDTH
from tests.translation.families import unchanged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.translation.files import Tensors

EMBEDDING, HEADS, LAYERS, INNER, PATCH, SIDE = 64, 4, 2, 96, 8, 4
HEAD = EMBEDDING // HEADS
IMAGE = SIDE * PATCH
BREAK_VECTOR, IMAGE_BREAK = "v.token_embd.img_break", 12  # between the rows of an image
KEYS: dict[str, Any] = {
    "block_count": LAYERS,
    "embedding_length": EMBEDDING,
    "feed_forward_length": INNER,
    "attention.head_count": HEADS,
    "attention.layer_norm_epsilon": 1e-6,
    "image_size": IMAGE,
    "patch_size": PATCH,
}
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


class Vision:
    """Tensors of a projector being made."""

    def __init__(self, seed: int = 5) -> None:
        self._random = np.random.default_rng(seed)
        self.tensors: Tensors = {}

    def random(self, name: str, *shape: int, scale: float | None = None) -> None:
        values = self._random.standard_normal(shape) * (scale or shape[-1] ** -0.5)
        self.tensors[name] = values.astype(np.float32)

    def half(self, name: str, *shape: int) -> None:
        """Add numbers that are the same in F16."""
        self.random(name, *shape)
        self.tensors[name] = self.tensors[name].astype(np.float16).astype(np.float32)

    def linear(self, name: str, rows: int, columns: int, *, bias: bool = True) -> None:
        self.random(f"{name}.weight", rows, columns)
        if bias:
            self.random(f"{name}.bias", rows, scale=0.1)

    def norm(self, name: str, size: int = EMBEDDING, *, bias: bool = True) -> None:
        self.random(f"{name}.weight", size, scale=0.5)
        if bias:
            self.random(f"{name}.bias", size, scale=0.1)

    def blocks(
        self,
        *,
        bias: bool = True,
        norm_bias: bool | None = None,
        is_fused: bool = False,
        has_gate: bool = False,
        down_first: bool = False,
    ) -> None:
        """Add the layers of a vision transformer."""
        for number in range(LAYERS):
            prefix = f"v.blk.{number}."
            for norm in ("ln1", "ln2"):
                self.norm(f"{prefix}{norm}", bias=bias if norm_bias is None else norm_bias)
            if is_fused:
                self.linear(f"{prefix}attn_qkv", 3 * EMBEDDING, EMBEDDING, bias=bias)
            else:
                for part in "qkv":
                    self.linear(f"{prefix}attn_{part}", EMBEDDING, EMBEDDING, bias=bias)
            self.linear(f"{prefix}attn_out", EMBEDDING, EMBEDDING, bias=bias)
            if has_gate:
                self.linear(f"{prefix}ffn_gate", INNER, EMBEDDING, bias=bias)
            first, second = ("ffn_down", "ffn_up") if down_first else ("ffn_up", "ffn_down")
            self.linear(f"{prefix}{first}", INNER, EMBEDDING, bias=bias)
            self.linear(f"{prefix}{second}", EMBEDDING, INNER, bias=bias)


class Projector(NamedTuple):
    """A projector of a family."""

    kind: str  # llama.cpp's
    make: Callable[[Vision], None]
    names: tuple[tuple[str, str], ...]  # (new, old), one after another
    undo: Callable[[Tensors], Tensors] = unchanged
    keys: Mapping[str, Any] = {}  # of the new file, besides `KEYS`
    old_keys: Mapping[str, Any] = {}  # of the old file, besides those
    left_out: tuple[str, ...] = ()  # of `KEYS`, in the old file
    flags: tuple[str, ...] = ("has_vision_encoder", "use_gelu")
    kind_key: str = "clip.projector_type"
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    def tensors(self) -> Tensors:
        vision = Vision()
        self.make(vision)
        return vision.tensors

    def write(self, path: Path, table: np.ndarray[Any, np.dtype[Any]]) -> None:
        """Write the projector in llama.cpp's layout; ``table`` has the vectors of all tokens."""
        writer = GGUFWriter(path, "clip")
        writer.add_string(self.kind_key, self.kind)
        for flag in self.flags:
            writer.add_bool(f"clip.{flag}", True)  # noqa: FBT003 - gguf
        values = KEYS | {"projection_dim": WIDTH} | dict(self.keys)
        for name, value in values.items():
            _add(writer, f"clip.vision.{name}", value)
        writer.add_array("clip.vision.image_mean", list(self.mean))
        writer.add_array("clip.vision.image_std", list(self.deviation))
        for name, array in self.tensors().items():
            writer.add_tensor(name, table[IMAGE_BREAK] if name == BREAK_VECTOR else array)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def old_tensors(self) -> Tensors:
        """Return the tensors in Ollama's layout."""
        return {self._old_name(name): array for name, array in self.undo(self.tensors()).items()}

    def old_values(self, architecture: str) -> dict[str, tuple[Any, GGUFValueType]]:
        """Return the keys of Ollama's file, with their types."""
        values = {name: value for name, value in KEYS.items() if name not in self.left_out}
        own = {f"vision.{name}": value for name, value in values.items()} | dict(self.old_keys)
        return {f"{architecture}.{name}": (value, _kind(value)) for name, value in own.items()}

    def _old_name(self, name: str) -> str:
        for new, old in self.names:
            name = name.replace(new, old)
        return name


def _kind(value: Any) -> GGUFValueType:
    if isinstance(value, int):
        return GGUFValueType.UINT32
    return GGUFValueType.FLOAT32 if isinstance(value, float) else GGUFValueType.ARRAY


def _add(writer: GGUFWriter, name: str, value: Any) -> None:
    if isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, list):
        writer.add_array(name, value)
    else:
        writer.add_uint32(name, value)


def patches(vision: Vision, *names: str) -> None:
    for name in names or ("v.patch_embd.weight",):
        vision.half(name, EMBEDDING, 3, PATCH, PATCH)


def with_halves(tensors: Tensors, *ends: str) -> Tensors:
    """Store some tensors in F16, as Ollama does."""
    return {
        name: array.astype(np.float16) if name.endswith(ends) else array
        for name, array in tensors.items()
    }


def gemma3(vision: Vision) -> None:
    patches(vision)
    vision.random("v.patch_embd.bias", EMBEDDING)
    vision.half("v.position_embd.weight", SIDE * SIDE, EMBEDDING)
    vision.blocks(down_first=True)
    vision.norm("v.post_ln")
    vision.random("mm.input_projection.weight", EMBEDDING, WIDTH)
    vision.norm("mm.soft_emb_norm", bias=False)


def qwen25vl(vision: Vision) -> None:
    patches(vision, "v.patch_embd.weight", "v.patch_embd.weight.1")
    vision.blocks(norm_bias=False, has_gate=True)
    vision.norm("v.post_ln", bias=False)
    vision.linear("mm.0", 4 * EMBEDDING, 4 * EMBEDDING)
    vision.linear("mm.2", WIDTH, 4 * EMBEDDING)


def qwen3vl(vision: Vision) -> None:
    patches(vision, "v.patch_embd.weight", "v.patch_embd.weight.1")
    vision.random("v.patch_embd.bias", EMBEDDING)
    vision.half("v.position_embd.weight", SIDE * SIDE, EMBEDDING)
    vision.blocks(is_fused=True)
    vision.norm("v.post_ln")
    vision.linear("mm.0", 4 * EMBEDDING, 4 * EMBEDDING)
    vision.linear("mm.2", WIDTH, 4 * EMBEDDING)


def qwen3vl_deepstack(vision: Vision) -> None:
    qwen3vl(vision)
    for number in range(LAYERS):
        vision.norm(f"v.deepstack.{number}.norm", 4 * EMBEDDING)
        vision.linear(f"v.deepstack.{number}.fc1", 4 * EMBEDDING, 4 * EMBEDDING)
        vision.linear(f"v.deepstack.{number}.fc2", WIDTH, 4 * EMBEDDING)


def pixtral(vision: Vision) -> None:
    patches(vision)
    vision.norm("v.pre_ln", bias=False)
    vision.blocks(bias=False, has_gate=True)
    vision.random(BREAK_VECTOR, WIDTH)  # replaced by that of the model
    vision.norm("mm.input_norm", bias=False)
    vision.random("mm.patch_merger.weight", EMBEDDING, 4 * EMBEDDING)
    vision.linear("mm.1", WIDTH, EMBEDDING, bias=False)
    vision.linear("mm.2", WIDTH, WIDTH, bias=False)


def llama4(vision: Vision) -> None:
    vision.random("v.patch_embd.weight", EMBEDDING, 3 * PATCH * PATCH)
    vision.random("v.class_embd", EMBEDDING)
    vision.random("v.position_embd.weight", SIDE * SIDE + 1, EMBEDDING)
    vision.norm("v.pre_ln")
    vision.blocks()
    vision.norm("v.post_ln")
    vision.linear("mm.model.mlp.1", INNER, 4 * EMBEDDING, bias=False)
    vision.linear("mm.model.mlp.2", INNER, INNER, bias=False)
    vision.linear("mm.model.fc", WIDTH, INNER, bias=False)


def glm4v(vision: Vision) -> None:
    patches(vision, "v.patch_embd.weight", "v.patch_embd.weight.1")
    vision.random("v.patch_embd.bias", EMBEDDING)
    vision.blocks(norm_bias=False, is_fused=True, has_gate=True)
    for number in range(LAYERS):
        for part in "qk":
            vision.norm(f"v.blk.{number}.attn_{part}_norm", HEAD, bias=False)
    vision.norm("v.post_ln", bias=False)
    vision.random("mm.patch_merger.weight", WIDTH, EMBEDDING, 2, 2)
    vision.random("mm.patch_merger.bias", WIDTH, scale=0.1)
    vision.linear("mm.model.fc", WIDTH, WIDTH, bias=False)
    vision.norm("mm.post_norm", WIDTH)
    for part, rows, columns in (("up", INNER, WIDTH), ("gate", INNER, WIDTH)):
        vision.linear(f"mm.{part}", rows, columns, bias=False)
    vision.linear("mm.down", WIDTH, INNER, bias=False)


def gemma4v(vision: Vision) -> None:
    patches(vision)
    vision.random("v.position_embd.weight", 2, 64, EMBEDDING)
    vision.blocks(bias=False, has_gate=True)
    for number in range(LAYERS):
        prefix = f"v.blk.{number}."
        for norm in ("attn_post_norm", "ffn_post_norm"):
            vision.norm(f"{prefix}{norm}", bias=False)
        for part in "qk":
            vision.norm(f"{prefix}attn_{part}_norm", HEAD, bias=False)
    vision.linear("mm.input_projection", WIDTH, EMBEDDING, bias=False)


def nemotron_v2_vl(vision: Vision) -> None:
    patches(vision)
    vision.half("v.class_embd", 2, EMBEDDING)
    vision.half("v.position_embd.weight", SIDE * SIDE, EMBEDDING)
    vision.blocks(is_fused=True)
    vision.norm("mm.model.mlp.0", 4 * EMBEDDING, bias=False)
    vision.linear("mm.model.mlp.1", INNER, 4 * EMBEDDING, bias=False)
    vision.linear("mm.model.mlp.3", WIDTH, INNER, bias=False)


def llava(vision: Vision) -> None:
    patches(vision)
    vision.random("v.class_embd", EMBEDDING)
    vision.random("v.position_embd.weight", SIDE * SIDE + 1, EMBEDDING)
    vision.norm("v.pre_ln")
    vision.blocks(down_first=True)
    vision.norm("v.post_ln")
    vision.linear("mm.0", WIDTH, EMBEDDING)
    vision.linear("mm.2", WIDTH, WIDTH)


SAM, SAM_OUT = 64, 256  # the width of the encoder in front, and of its neck
SAM_LAYERS = 3  # the third one has global attention


def deepseekocr(vision: Vision) -> None:
    vision.half("v.sam.pos_embd.weight", 4, 4, SAM)
    vision.half("v.sam.patch_embd.weight", SAM, 3, 16, 16)
    vision.random("v.sam.patch_embd.bias", SAM)
    for number in range(SAM_LAYERS):
        prefix = f"v.sam.blk.{number}."
        for norm in ("pre_ln", "post_ln"):
            vision.norm(f"{prefix}{norm}", SAM)
        vision.linear(f"{prefix}attn.qkv", 3 * SAM, SAM)
        vision.linear(f"{prefix}attn.out", SAM, SAM)
        for part in ("pos_h", "pos_w"):
            vision.random(f"{prefix}attn.{part}.weight", 27, SAM // HEADS)
        vision.linear(f"{prefix}mlp.lin1", 4 * SAM, SAM)
        vision.linear(f"{prefix}mlp.lin2", SAM, 4 * SAM)
    vision.random("v.sam.neck.0.weight", SAM_OUT, SAM, 1, 1)
    vision.random("v.sam.neck.2.weight", SAM_OUT, SAM_OUT, 3, 3)
    for number in (1, 3):
        vision.norm(f"v.sam.neck.{number}", SAM_OUT)
    vision.random("v.sam.net_2.weight", 2 * SAM_OUT, SAM_OUT, 3, 3)
    vision.random("v.sam.net_3.weight", EMBEDDING, 2 * SAM_OUT, 3, 3)
    patches(vision)
    vision.random("v.class_embd", EMBEDDING)
    vision.half("v.position_embd.weight", SIDE * SIDE + 1, EMBEDDING)
    vision.norm("v.pre_ln")
    vision.blocks(is_fused=True)
    vision.random("v.image_newline", WIDTH)
    vision.random("v.view_seperator", WIDTH)
    vision.linear("mm.model.fc", WIDTH, 2 * EMBEDDING)


def undo_gemma3(tensors: Tensors) -> Tensors:
    return with_halves(tensors, "v.patch_embd.weight", "v.position_embd.weight")


def undo_patches(tensors: Tensors) -> Tensors:
    return with_halves(tensors, "v.patch_embd.weight", "v.patch_embd.weight.1")


def undo_qwen3vl(tensors: Tensors) -> Tensors:
    """Divide fused matrices, and put the frames of the patches together."""
    found: Tensors = {}
    for name, array in tensors.items():
        if "attn_qkv" in name:
            for part, rows in zip("qkv", np.split(array, 3), strict=True):
                found[name.replace("attn_qkv", f"attn_{part}")] = rows
        elif not name.startswith("v.patch_embd.weight"):
            found[name] = array
    frames = [tensors[name] for name in ("v.patch_embd.weight", "v.patch_embd.weight.1")]
    both = np.stack(frames, axis=2).reshape(-1, 2, PATCH, PATCH)  # outputs x inputs, frames, ...
    return with_halves(found, "v.position_embd.weight") | {
        "v.patch_embd.weight": both.astype(np.float16)
    }


def undo_pixtral(tensors: Tensors) -> Tensors:
    """Put the halves of heads behind each other, and leave out the vector of a token."""
    found: Tensors = {}
    for name, array in tensors.items():
        if name.endswith(("attn_q.weight", "attn_k.weight")):
            pairs = array.reshape(HEADS, HEAD // 2, 2, EMBEDDING)
            found[name] = pairs.swapaxes(1, 2).reshape(array.shape)
        elif name != BREAK_VECTOR:
            found[name] = array
    return with_halves(found, "v.patch_embd.weight")


def undo_nemotron(tensors: Tensors) -> Tensors:
    found = with_halves(tensors, "v.position_embd.weight", "v.class_embd")
    flat = tensors["v.patch_embd.weight"].reshape(EMBEDDING, -1)
    return found | {"v.patch_embd.weight": flat.astype(np.float16)}


def undo_deepseekocr(tensors: Tensors) -> Tensors:
    return with_halves(tensors, "patch_embd.weight", "v.position_embd.weight")


QWEN3_NAMES = (
    ("v.position_embd.", "v.pos_embed."),
    ("v.patch_embd.", "v.patch_embed."),
    ("v.post_ln.", "v.merger.norm."),
    ("mm.0.", "v.merger.linear_fc1."),
    ("mm.2.", "v.merger.linear_fc2."),
    (".ffn_up.", ".mlp.linear_fc1."),
    (".ffn_down.", ".mlp.linear_fc2."),
    (".ln1.", ".norm1."),
    (".ln2.", ".norm2."),
)
DEEPSTACK_LAYERS = [1, 0]  # of each merger
DEEPSTACK_NAMES = tuple(
    (f"v.deepstack.{layer}.{new}.", f"v.deepstack_merger.{number}.{old}.")
    for number, layer in enumerate(DEEPSTACK_LAYERS)
    for new, old in (("norm", "norm"), ("fc1", "linear_fc1"), ("fc2", "linear_fc2"))
)
CLIP_NAMES = (
    (".attn_out.", ".attn_output."),
    (".ln1.", ".attn_norm."),
    (".ln2.", ".ffn_norm."),
)
MERGE = {"spatial_merge_size": 2, "num_channels": 3}


def _vision(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"vision.{name}": value for name, value in values.items()}


PIXELS = {"image_min_pixels": 65536, "image_max_pixels": 16777216}
QWEN3_KEYS = {**MERGE, "temporal_patch_size": 2, "rope.freq_base": 10000.0, **PIXELS}
PROJECTORS = {
    "gemma3": Projector(
        "gemma3",
        gemma3,
        names=(
            ("v.patch_embd.", "v.patch_embedding."),
            ("v.position_embd.", "v.position_embedding."),
            ("v.post_ln.", "v.post_layernorm."),
            (".ln1.", ".layer_norm1."),
            (".ln2.", ".layer_norm2."),
            (".attn_out.", ".attn_output."),
            (".ffn_down.", ".mlp.fc1."),
            (".ffn_up.", ".mlp.fc2."),
            ("mm.input_projection.", "mm.mm_input_projection."),
            ("mm.soft_emb_norm.", "mm.mm_soft_emb_norm."),
        ),
        undo=undo_gemma3,
    ),
    "qwen25vl": Projector(
        "qwen2.5vl_merger",
        qwen25vl,
        names=(
            ("v.post_ln.", "v.merger.ln_q."),
            ("mm.", "v.merger.mlp."),
            ("v.patch_embd.weight.1", "v.patch_embd_1.weight"),
            ("v.patch_embd.weight", "v.patch_embd_0.weight"),
        ),
        undo=undo_patches,
        keys={**MERGE, "window_size": 2 * PATCH, "n_wa_pattern": 2, "image_size": 560},
        old_keys=_vision(
            {**MERGE, "window_size": 2 * PATCH, "fullatt_block_indexes": [1]},
        ),
        left_out=("image_size", "feed_forward_length"),
        flags=("has_vision_encoder", "use_silu"),
        mean=CLIP_MEAN,
        deviation=CLIP_DEVIATION,
    ),
    "qwen3vl": Projector(
        "qwen3vl_merger",
        qwen3vl_deepstack,
        names=(*DEEPSTACK_NAMES, *QWEN3_NAMES),
        undo=undo_qwen3vl,
        keys=QWEN3_KEYS,
        old_keys=_vision({**MERGE, "deepstack_visual_indexes": DEEPSTACK_LAYERS}),
        left_out=("image_size", "feed_forward_length"),
    ),
    "qwen3vlmoe": Projector(
        "qwen3vl_merger",
        qwen3vl_deepstack,
        names=(*DEEPSTACK_NAMES, *QWEN3_NAMES),
        undo=undo_qwen3vl,
        keys=QWEN3_KEYS,
        old_keys=_vision({**MERGE, "deepstack_visual_indexes": DEEPSTACK_LAYERS}),
        left_out=("image_size", "feed_forward_length"),
    ),
    "qwen35": Projector(
        "qwen3vl_merger",
        qwen3vl,
        names=QWEN3_NAMES,
        undo=undo_qwen3vl,
        keys=MERGE,
        old_keys=_vision(MERGE),
        left_out=("image_size", "feed_forward_length", "attention.layer_norm_epsilon"),
    ),
    "qwen35moe": Projector(
        "qwen3vl_merger",
        qwen3vl,
        names=QWEN3_NAMES,
        undo=undo_qwen3vl,
        keys=MERGE,
        old_keys=_vision(MERGE),
        left_out=("image_size", "feed_forward_length", "attention.layer_norm_epsilon"),
    ),
    "mistral3": Projector(
        "pixtral",
        pixtral,
        names=(
            ("v.patch_embd.", "v.patch_conv."),
            ("v.pre_ln.", "v.encoder_norm."),
            *CLIP_NAMES,
            ("mm.1.", "mm.linear_1."),
            ("mm.2.", "mm.linear_2."),
            ("mm.patch_merger.", "mm.patch_merger.merging_layer."),
            ("mm.input_norm.", "mm.norm."),
        ),
        undo=undo_pixtral,
        keys={**MERGE, "attention.layer_norm_epsilon": 1e-5},
        old_keys={"vision.num_channels": 3, "spatial_merge_size": 2},
        left_out=("attention.layer_norm_epsilon",),
        flags=("has_vision_encoder", "use_silu"),
        mean=(0.48145467, 0.4578275, 0.40821072),
        deviation=(0.26862955, 0.26130259, 0.2757771),
    ),
    "llama4": Projector(
        "llama4",
        llama4,
        names=(
            ("mm.model.mlp.1.", "v.vision_adapter.MLP.fc1."),
            ("mm.model.mlp.2.", "v.vision_adapter.MLP.fc2."),
            ("mm.model.fc.", "mm.linear_1."),
            ("v.class_embd", "v.class_embedding"),
            ("v.position_embd.weight", "v.positional_embedding_vlm"),
            ("v.post_ln.", "v.layernorm_post."),
            ("v.pre_ln.", "v.layernorm_pre."),
            ("v.patch_embd.", "v.patch_embedding."),
            *CLIP_NAMES,
            (".ffn_up.", ".mlp.fc1."),
            (".ffn_down.", ".mlp.fc2."),
            (".MLP.", ".mlp."),
        ),
        keys={"projector.scale_factor": 2},
        old_keys={"vision.pixel_shuffle_ratio": 0.5, "vision.layer_norm_epsilon": 1e-6},
        left_out=("attention.layer_norm_epsilon",),
    ),
    "glmocr": Projector(
        "glm4v",
        glm4v,
        names=(
            ("v.patch_embd.weight.1", "v.patch_embd_1.weight"),
            ("v.patch_embd.weight", "v.patch_embd_0.weight"),
        ),
        undo=undo_patches,
        keys={"spatial_merge_size": 2},
        old_keys=_vision(
            {
                "intermediate_size": INNER,
                "attention.layer_norm_rms_epsilon": 1e-6,
                "spatial_merge_size": 2,
                "out_hidden_size": WIDTH,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            }
        ),
        left_out=("feed_forward_length", "attention.layer_norm_epsilon"),
        flags=("has_vision_encoder", "use_silu"),
    ),
    "gemma4": Projector(
        "gemma4v",
        gemma4v,
        names=(),
        undo=undo_patches,
        keys={"image_size": 224, "projector.scale_factor": 2},
        old_keys=_vision({"projector.scale_factor": 2}),
        left_out=("image_size",),
        flags=("has_vision_encoder",),
        kind_key="clip.vision.projector_type",
        mean=(0.0, 0.0, 0.0),
        deviation=(1.0, 1.0, 1.0),
    ),
    "nemotron_h_omni": Projector(
        "nemotron_v2_vl",
        nemotron_v2_vl,
        names=(
            ("v.class_embd", "v.cls_embd"),
            ("v.position_embd.weight", "v.position_embd"),
            ("mm.model.mlp.0.", "mm.norm."),
            ("mm.model.mlp.1.", "mm.1."),
            ("mm.model.mlp.3.", "mm.2."),
        ),
        undo=undo_nemotron,
        keys={"num_channels": 3, "projector.scale_factor": 2},
        old_keys=_vision(
            {
                "num_channels": 3,
                "projector.scale_factor": 2,
                "image_mean": [0.5, 0.5, 0.5],
                "image_std": [0.5, 0.5, 0.5],
            }
        ),
        kind_key="clip.vision.projector_type",
    ),
    "deepseekocr": Projector(
        "deepseekocr",
        deepseekocr,
        names=(
            ("v.sam.pos_embd.weight", "s.position_embd"),
            (".attn.out.", ".attn.proj."),
            (".attn.pos_h.weight", ".attn.rel_pos_h"),
            (".attn.pos_w.weight", ".attn.rel_pos_w"),
            (".pre_ln.", ".norm1."),
            (".post_ln.", ".norm2."),
            ("v.sam.", "s."),
            ("v.norm1.", "v.pre_layrnorm."),
            (".attn_out.", ".self_attn.out_proj."),
            (".attn_qkv.", ".self_attn.qkv_proj."),
            (".ln1.", ".layer_norm1."),
            (".ln2.", ".layer_norm2."),
            (".ffn_up.", ".mlp.fc1."),
            (".ffn_down.", ".mlp.fc2."),
            ("mm.model.fc.", "mm.layers."),
            ("v.image_newline", "mm.image_newline"),
            ("v.view_seperator", "mm.view_seperator"),
        ),
        undo=undo_deepseekocr,
        keys={
            "feed_forward_length": 64,
            "projection_dim": 1280,
            "projector.scale_factor": 1,
            "window_size": 14,
            "sam.block_count": SAM_LAYERS,
            "sam.embedding_length": SAM,
            "sam.head_count": HEADS,
        },
        old_keys={
            "vision.head_count": HEADS,
            "sam.block_count": SAM_LAYERS,
            "sam.embedding_length": SAM,
            "sam.head_count": HEADS,
        },
        left_out=("feed_forward_length", "attention.layer_norm_epsilon", "attention.head_count"),
    ),
}
