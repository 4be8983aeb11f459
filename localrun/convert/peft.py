"""Reader of LoRA adapters in PEFT's format.

    adapter_config.json           {"peft_type": "LORA", "r": 16, "lora_alpha": 32, ...}
    adapter_model.safetensors     base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight
                                  ...                                             lora_B.weight

An adapter with more than pairs of matrices (DoRA, biases, whole layers) is refused: without the
other parts it would answer differently from the adapter that was trained.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.config import Config
from localrun.convert.safetensors import read_file
from localrun.errors import IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from localrun.convert.safetensors import SafetensorsTensor

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
# some versions of PEFT write the adapter's name behind A or B
MATRIX = re.compile(r"(.+)\.lora_(embedding_)?([AB])(?:\.(?!weight$)[\w-]+)?(?:\.weight)?")
PLAIN_KEY = re.compile(r"\^?[\w.-]+\$?")
# settings of more than pairs of matrices, with their names in messages
UNSUPPORTED = {
    "use_dora": "DoRA",
    "fan_in_fan_out": "transposed layers",
    "layer_replication": "replicated layers",
    "alora_invocation_tokens": "activation by tokens (aLoRA)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraPair:
    """The update of one module: ``factor * alpha / rank * (b @ a)`` is added to its weight."""

    module: str
    a: SafetensorsTensor
    b: SafetensorsTensor
    is_embedding: bool
    factor: float

    @property
    def rank(self) -> int:
        """Return the rank of the update."""
        return self.a.shape[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter; ``base_name`` is its name of the base model, for messages."""

    alpha: float
    pairs: list[LoraPair]
    base_name: str


def read_adapter(source: Path) -> Adapter:
    """Return the adapter of a PEFT folder, or of a safetensors file beside its configuration.

    Raises:
        NotFoundError: a file is missing.
        IntegrityError: a file is damaged, a matrix is missing or a rank is wrong.
        UsageError: it is more than a LoRA adapter; the message says what is not supported.
    """
    folder = source if source.is_dir() else source.parent
    weights = folders.require(folder, WEIGHTS_FILE) if source.is_dir() else source
    config = _config(folder)
    scaling = _Scaling(config)
    tensors = read_file(weights)
    pairs = [_pair(module, parts, scaling, weights) for module, parts in _modules(tensors, weights)]
    base_name = config.text("base_model_name_or_path", "an unnamed model")
    return Adapter(alpha=scaling.alpha, pairs=pairs, base_name=base_name)


def _config(folder: Path) -> Config:
    path = folders.find(folder, CONFIG_FILE)
    if path is None:
        raise NotFoundError(
            f"{folder} has no {CONFIG_FILE}, which has the scale of the adapter",
            hint=f"put its {CONFIG_FILE} into the same folder",
        )
    config = Config(folders.read_json(path), str(path))
    kind = config.text("peft_type")
    if kind != "LORA":
        raise UsageError(f"{path}: an adapter of the type {kind} cannot be used; LORA can")
    for key, meaning in UNSUPPORTED.items():
        if config.raw(key):
            raise _more_than_lora(str(path), f"{meaning} ({key})")
    if config.text("bias", "none") != "none":
        raise _more_than_lora(str(path), "biases (bias)")
    return config


class _Scaling:
    """Rank and scale of each module, from the configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._rank = config.count("r")
        self._alpha = config.number("lora_alpha")
        self._has_root = config.flag("use_rslora", default=False)
        self._ranks = _Pattern(config.inner("rank_pattern"))
        self._alphas = _Pattern(config.inner("alpha_pattern"))
        self.alpha = self._numerator(self._alpha, self._rank)
        if not self.alpha:  # llama.cpp treats 0 as "no scale"
            raise config.wrong("lora_alpha", "a number other than 0")

    def rank(self, module: str) -> int:
        """Return the configured rank of a module."""
        key = self._ranks.key_of(module)
        return self._ranks.values.count(key) if key else self._rank

    def factor(self, module: str) -> float:
        """Return the ratio of a module's scale to the scale of `alpha`."""
        key = self._alphas.key_of(module)
        alpha = self._alphas.values.number(key) if key else self._alpha
        return self._numerator(alpha, self.rank(module)) / self.alpha

    def _numerator(self, alpha: float, rank: int) -> float:
        """Return the alpha for llama.cpp, which divides by the rank; rsLoRA divides by its root."""
        return alpha * math.sqrt(rank) if self._has_root else alpha


class _Pattern:
    """Settings of some modules, by the module's name (behind ``^``) or by its end."""

    def __init__(self, values: Config) -> None:
        self.values = values
        self._keys: dict[str, tuple[int, str]] = {}  # by lookup text
        for index, key in enumerate(values.values):
            if not PLAIN_KEY.fullmatch(key):  # foreign regular expressions are not run
                raise UsageError(
                    f"{values.where}: {key[:200]!r} is a pattern; plain names can be read"
                )
            name = key.removesuffix("$")
            self._keys.setdefault(f"^{name.removeprefix('^')}", (index, key))
            if not name.startswith("^"):
                self._keys.setdefault(name, (index, key))

    def key_of(self, module: str) -> str | None:
        """Return the first key that is a module's name or its end, or None."""
        dots = [at for at, char in enumerate(module) if char == "."]
        names = (f"^{module}", *(module[at + 1 :] for at in dots))
        matches = [self._keys[name] for name in names if name in self._keys]
        return min(matches)[1] if matches else None


def _modules(
    tensors: Mapping[str, SafetensorsTensor], path: Path
) -> list[tuple[str, dict[tuple[str, bool], SafetensorsTensor]]]:
    modules: dict[str, dict[tuple[str, bool], SafetensorsTensor]] = {}
    for name, tensor in tensors.items():
        match = MATRIX.fullmatch(name)
        if match is None:
            raise _more_than_lora(str(path), f"the tensor {name}")
        parts = modules.setdefault(match[1].removeprefix(PREFIX), {})
        if parts.setdefault((match[3], match[2] is not None), tensor) is not tensor:
            raise IntegrityError(f"{path} has {name} under another name too")
    if not modules:
        raise IntegrityError(f"{path} has no tensors")
    return sorted(modules.items())


def _pair(
    module: str, parts: Mapping[tuple[str, bool], SafetensorsTensor], scaling: _Scaling, path: Path
) -> LoraPair:
    is_embedding = ("A", True) in parts or ("B", True) in parts
    a, b = parts.get(("A", is_embedding)), parts.get(("B", is_embedding))
    if a is None or b is None:
        present, missing = ("lora_B", "lora_A") if a is None else ("lora_A", "lora_B")
        raise IntegrityError(f"{path}: {module} has {present} without its {missing}")
    if len(a.shape) != 2 or len(b.shape) != 2:  # noqa: PLR2004 - matrices
        raise UsageError(f"{path}: {module} is adapted by {len(a.shape)} dimensions, not 2")
    rank = scaling.rank(module)
    if (a.shape[0], b.shape[1]) != (rank, rank):
        raise IntegrityError(
            f"{path}: {module} has lora_A of rank {a.shape[0]} and lora_B of rank {b.shape[1]}, "
            f"{CONFIG_FILE} says {rank}"
        )
    return LoraPair(
        module=module, a=a, b=b, is_embedding=is_embedding, factor=scaling.factor(module)
    )


def _more_than_lora(where: str, feature: str) -> UsageError:
    return UsageError(
        f"{where}: the adapter also has {feature}, which llama.cpp cannot add to a model",
        hint="merge it into its model (PEFT's merge_and_unload) and convert the result",
    )
