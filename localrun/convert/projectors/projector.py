"""Description of a convertible projector: a vision encoder and the layers behind it, as GGUF.

Its file has the architecture ``clip``. Values of several places are needed: the configuration of
the encoder, that of the whole model, and how pictures are prepared (``preprocessor_config.json``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import gguf

    from localrun.convert.config import Config
    from localrun.convert.families.architecture import Pieces
    from localrun.convert.safetensors import Array
    from localrun.convert.sources import TensorSource
    from localrun.convert.tensors import FileType


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision:
    """The configurations of a model that sees; ``folder_tokens`` are its added tokens by text."""

    encoder: Config
    model: Config
    text: Config
    pictures: Config
    tokens: Mapping[str, int]

    @property
    def num_layers(self) -> int:
        """Return the number of the encoder's layers, which is bounded as tables have its size."""
        key = "num_hidden_layers" if self.encoder.has("num_hidden_layers") else "depth"
        count = self.encoder.count(key)
        if count > MAX_LAYERS:
            raise self.encoder.wrong(key, f"at most {MAX_LAYERS}")
        return count

    @property
    def num_heads(self) -> int:
        """Return the number of heads of attention."""
        key = "num_attention_heads" if self.encoder.has("num_attention_heads") else "num_heads"
        return self.encoder.count(key)


MAX_LAYERS = 512


def is_vision_tensor(name: str) -> bool:
    """Return whether a tensor belongs to an encoder of pictures or the layers behind it."""
    plain = name.removeprefix("model.")
    return plain.startswith(("visual.", "vision_tower.", "vision_model.", "multi_modal_projector.",
                             "connector."))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """A kind of projector, and the differences between its files and llama.cpp's tensors.

    ``describe`` writes the keys that differ. ``pieces`` renames a tensor, takes it apart or leaves
    it out; a name that GGUF's map lacks is GGUF's own. ``forced`` are types by parts of the stored
    name, ``order`` gives the order of a tensor's rows. ``defaults`` are transformers' values for
    keys that the encoder's configuration lacks.
    """

    describe: Callable[[gguf.GGUFWriter, Vision], None]
    pieces: Callable[[str, TensorSource, Vision], Pieces]
    uses: Callable[[str], bool] = is_vision_tensor
    order: Callable[[str, TensorSource, Vision], Array | None] = lambda *_: None
    forced: Mapping[str, FileType] = field(default_factory=dict)
    norm_offsets: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)


def one_piece(
    name: str, source: TensorSource, vision: Vision
) -> Iterable[tuple[str, TensorSource]]:
    """Return the tensor itself."""
    del vision
    return ((name, source),)
