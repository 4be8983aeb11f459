"""GGUF file sets by name: shards, quantizations, projectors.

    model-Q4_K_M-00001-of-00002.gguf     stem model-Q4_K_M, quantization Q4_K_M
    model-Q4_K_M-00002-of-00002.gguf

Knows names only and opens no file. A split model is one set with its parts in order; an incomplete
set states which parts are missing.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.store.foreign.model import ForeignModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localrun.store.foreign.model import ForeignFile

SUFFIX = ".gguf"
SHARD = re.compile(r"(.+)-([0-9]{5})-of-([0-9]{5})\.gguf", re.IGNORECASE)
QUANTIZATION = re.compile(
    r"""(?<![A-Z0-9])
    (?:UD-)?                                 # Unsloth's dynamic ones
    (?: I?Q[1-8] (?: _K (?:_(?:XXS|XS|S|M|L|XL|XXL))?
                   | _(?:XXS|XS|S|M|L|XL|NL)
                   | _[01] (?:_[48]_[48])? )?
      | TQ[12]_0
      | MXFP4 (?:_MOE)?
      | NVFP4
      | BF16 | FP?16 | FP?32 )
    (?![A-Z0-9])""",
    re.IGNORECASE | re.VERBOSE,
)
PREFERRED_PROJECTORS = ("F16", "BF16", "Q8_0", "F32")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufSet:
    """Files of one model by name, in order; usable only if none is missing."""

    stem: str  # without shard number and suffix
    names: tuple[str, ...]
    num_missing: int = 0
    first_missing: str = ""


def gguf_sets(names: Iterable[str]) -> list[GgufSet]:
    """Return the sets that the names form, by stem; names of other files are ignored."""
    shards: defaultdict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    sets = []
    for name in sorted(names):
        if not is_gguf_name(name):
            continue
        stem, number, total = _shard(name)
        if total == 0:
            sets.append(GgufSet(stem=stem, names=(name,)))
        else:
            shards[stem, total][number] = name
    sets += [_split_set(stem, total, names) for (stem, total), names in shards.items()]
    return sorted(sets, key=lambda each: (each.stem, each.names))


def is_gguf_name(name: str) -> bool:
    """Return whether a name is that of a GGUF file, and not of a Finder ``._`` shadow file."""
    return name.lower().endswith(SUFFIX) and not name.rpartition("/")[2].startswith(".")


def is_projector_name(name: str) -> bool:
    """Return whether a name is that of a multimodal projector."""
    return "mmproj" in name.rpartition("/")[2].lower()


def is_model_name(name: str) -> bool:
    """Return whether a name is that of weights, not of a projector or importance matrix."""
    is_matrix = "imatrix" in name.lower() and quantization(name) is None
    return not is_projector_name(name) and not is_matrix


def quantization(name: str) -> str | None:
    """Return the quantization in a file name, the last one of several, or None."""
    matches = QUANTIZATION.findall(name)
    return str(matches[-1]).upper() if matches else None


def models_of_repository(
    files: Sequence[ForeignFile], *, tool: str, repository: str, revision: str | None = None
) -> list[ForeignModel]:
    """Return the models of one repository's files, named ``owner/repo:QUANT``.

    Without a quantization in the name, or if two models have the same one, the file's stem takes
    its place. Of several projectors one is taken, F16 first.
    """
    by_name = {file.name: file for file in files}
    projector = _projector(list(by_name))
    sets = [
        gguf_set
        for gguf_set in gguf_sets(by_name)
        if is_model_name(gguf_set.stem) and _is_complete(gguf_set)
    ]
    labels = Counter(quantization(gguf_set.stem) for gguf_set in sets)
    models = []
    for gguf_set in sets:
        label = quantization(gguf_set.stem)
        if label is None or labels[label] > 1:
            label = gguf_set.stem.rpartition("/")[2]
        names = [*gguf_set.names, projector] if projector else gguf_set.names
        models.append(
            ForeignModel(
                tool=tool,
                name=f"{repository}:{label}",
                files=tuple(by_name[name] for name in names),
                revision=revision,
            )
        )
    return models


def _shard(name: str) -> tuple[str, int, int]:
    """Return stem, number and total of a name; the total is 0 if the file is no shard."""
    match = SHARD.fullmatch(name)
    if match and 1 <= int(match[2]) <= int(match[3]):
        return match[1], int(match[2]), int(match[3])
    return name[: -len(SUFFIX)], 0, 0


def _split_set(stem: str, total: int, shards: dict[int, str]) -> GgufSet:
    # never list all missing shards: a name may announce 99999
    missing = next((number for number in range(1, total + 1) if number not in shards), 0)
    return GgufSet(
        stem=stem,
        names=tuple(shards.values()),  # inserted in the order of their names
        num_missing=total - len(shards),
        first_missing=f"{stem}-{missing:05}-of-{total:05}{SUFFIX}" if missing else "",
    )


def _is_complete(gguf_set: GgufSet) -> bool:
    if gguf_set.num_missing:
        _log.debug("skipped %s: %d shards are missing", gguf_set.stem, gguf_set.num_missing)
    return gguf_set.num_missing == 0


def _projector(names: Sequence[str]) -> str | None:
    projectors = sorted(name for name in names if is_gguf_name(name) and is_projector_name(name))
    order = {label: place for place, label in enumerate(PREFERRED_PROJECTORS)}
    return min(
        projectors, key=lambda name: order.get(quantization(name) or "", len(order)), default=None
    )
