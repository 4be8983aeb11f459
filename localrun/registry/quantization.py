"""Quantizations of a repository: which files form one model, and which model to take by default.

Pure functions of names and sizes; opens no connection and no file. A variant is one loadable
model: one ``.gguf`` file, or all shards of a split model in order.

    Qwen3-8B-Q4_K_M.gguf                                       Q4_K_M
    UD-Q4_K_XL/model-UD-Q4_K_XL-00001-of-00002.gguf            UD-Q4_K_XL, with its 00002
    mmproj-F16.gguf, imatrix.gguf, ggml-vocab-x.gguf, lora-x.gguf   no variant
    eagle3-Qwen3-8B-Q8_0.gguf, dflash-x.gguf, mtp-x.gguf       no variant: they draft for one

A tag that the user gives is taken exactly: another quantization never replaces it silently.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from localrun.errors import IntegrityError, ModelNotFoundError, QuantizationNotFoundError
from localrun.names.ref import DEFAULT_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from localrun.registry.remote import RemoteFile, Repository

# approximate bits per weight of a whole file, as llama.cpp's quantize tool prints them; publishers
# make the L and XL variants, which have larger embeddings
BITS = {
    "F64": 64.0, "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K_L": 6.8,
    "Q6_K": 6.56, "Q5_1": 6.0, "Q5_K_L": 5.85, "Q5_K_M": 5.69, "Q5_K_S": 5.54, "Q5_0": 5.5,
    "Q4_K_L": 5.05, "Q4_1": 5.0, "Q4_K_XL": 4.95, "Q4_K_M": 4.85, "Q4_K": 4.85, "Q4_K_S": 4.58,
    "Q4_0": 4.55, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "MXFP4": 4.25, "MXFP4_MOE": 4.25, "Q3_K_XL": 4.4,
    "Q3_K_L": 4.27, "Q3_K_M": 3.91, "Q3_K": 3.91, "IQ3_M": 3.66, "Q3_K_S": 3.5, "IQ3_S": 3.44,
    "IQ3_XS": 3.3, "IQ3_XXS": 3.06, "Q2_K_L": 3.1, "Q2_K": 2.96, "IQ2_M": 2.7, "IQ2_S": 2.5,
    "IQ2_XS": 2.31, "IQ2_XXS": 2.06, "TQ2_0": 2.06, "IQ1_M": 1.75, "TQ1_0": 1.69, "IQ1_S": 1.56,
}  # fmt: skip
REPACKED = re.compile(r"Q4_0_\d_\d")  # for one processor type; llama.cpp dropped them in 2024
UNKNOWN = 1000.0  # far from every quantization
SUFFIX = ".gguf"
DEFAULT_QUANTIZATION = "Q4_K_M"
MAX_SHARDS_NAMED = 3
MAX_LISTED = 50  # variants in a hint
IGNORE = re.IGNORECASE | re.ASCII
END = r"(?![A-Za-z0-9])"
QUANTIZATION = re.compile(
    rf"(?<![A-Za-z0-9])(?:UD-)?(?:"
    rf"(?:I?Q|TQ)[1-8](?:_(?:\d|K|P|NL|X{{0,3}}[SML]){END})+"
    rf"|Q[2-8]$"  # microsoft/Phi-3-mini-4k-instruct-gguf has only "q4" and "fp16"
    rf"|MXFP[468](?:_MOE)?|NVFP4|BF16|FP?(?:16|32|64)"
    rf"){END}",
    IGNORE,
)
SHARD = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<total>\d{5})\.gguf", IGNORE)
PROJECTOR = re.compile(r"(?<![A-Za-z])mmproj(?![A-Za-z])", IGNORE)
NO_MODEL = re.compile(r"(?<![A-Za-z])(?:mmproj|imatrix|vocab|loras?|adapters?)(?![A-Za-z])", IGNORE)
HEAD = re.compile(r"(?:mtp|eagle3|dflash)-", IGNORE)  # at the start: drafts for the model beside it
DRAFT_HEADS = (re.compile(r"eagle3-", IGNORE), re.compile(r"dflash-", IGNORE))  # that are loaded
LICENCE = re.compile(r"(?:licen[cs]e|copying|notice|use_policy)(?:[.-][\w.-]+)?", IGNORE)
TEMPLATE = "chat_template.jinja"
PROJECTORS = ("F16", "BF16", "Q8_0")  # small next to the model, and needs the precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One model of a repository."""

    quantization: str  # or the file's stem, if the quantization is not unique
    files: tuple[RemoteFile, ...]  # shards in order
    size_bytes: int  # of all shards whose size the hub reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Variant to download; ``is_stated`` if the user named it, otherwise the user is notified."""

    variant: Variant
    is_stated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Companions:
    """Files that belong to every variant of a repository."""

    projector: RemoteFile | None  # first of F16, BF16, Q8_0, others; then by name
    template: RemoteFile | None
    licences: tuple[RemoteFile, ...]
    heads: tuple[RemoteFile, ...] = ()  # EAGLE-3 and DFlash heads, which draft tokens


def quantization_of(file_name: str) -> str | None:
    """Return the quantization in a file name, or else in the name of its nearest folder.

    The result is upper case, with FP16 as F16. If a name states several, the last one counts.
    """
    shard = SHARD.fullmatch(file_name)
    path = shard["stem"] if shard else _without_suffix(file_name)
    for part in reversed(path.split("/")):
        if matches := QUANTIZATION.findall(part):
            quantization = str(matches[-1]).upper()
            return f"F{quantization[2:]}" if quantization.startswith("FP") else quantization
    return None


def bits_per_weight(quantization: str | None) -> float:
    """Return the bits per weight of an upper-case quantization, with or without UD-.

    Unknown quantizations, and those that llama.cpp no longer loads, are far from all others.
    """
    plain = (quantization or "").removeprefix("UD-")
    if plain in BITS:
        return BITS[plain]
    digit = re.search(r"[1-8]", plain)
    return UNKNOWN if digit is None or REPACKED.fullmatch(plain) else int(digit[0]) + 0.5


def variants(repository: Repository) -> list[Variant]:
    """Return every model of a repository, the smallest first; empty without GGUF files.

    Raises:
        IntegrityError: a model lacks shards.
    """
    shard_sets = _sets(repository)
    for shard_set in shard_sets:
        shard_set.check(repository)
    return [shard_set.variant for shard_set in shard_sets]


def choose(repository: Repository, wanted: str | None) -> Choice:
    """Return the variant of a tag, ignoring case.

    Without a tag (None or ``latest``) the result is Q4_K_M, or else the variant nearest to it in
    bits per weight; of two equally near, the larger. Missing shards of other variants are no error.

    Raises:
        ModelNotFoundError: the repository has no GGUF files.
        QuantizationNotFoundError: the repository lacks this variant; the hint lists the others.
        IntegrityError: the chosen variant lacks shards.
    """
    shard_sets = _sets(repository)
    if not shard_sets:
        raise ModelNotFoundError(
            f"{repository.name} has no GGUF model",
            hint=f"localrun search {repository.name.rsplit('/', 1)[-1]}",
        )
    is_stated = wanted is not None and wanted.lower() != DEFAULT_TAG
    if wanted and is_stated:
        chosen = _stated(repository, shard_sets, wanted)
    else:
        chosen = min(shard_sets, key=_distance_from_default)
    chosen.check(repository)
    return Choice(variant=chosen.variant, is_stated=is_stated)


def shards_of(repository: Repository, name: str) -> tuple[RemoteFile, ...]:
    """Return a file of a repository, or all shards of its model in order if it is a shard.

    Raises:
        IntegrityError: shards are missing.
    """
    for shard_set in _sets(repository):
        if any(file.name == name for file in shard_set.variant.files):
            shard_set.check(repository)
            return shard_set.variant.files
    return tuple(file for file in repository.files if file.name == name)


def companions(repository: Repository) -> Companions:
    """Return the image projector, the chat template and the licences of a repository."""
    files = sorted(repository.files, key=lambda file: (file.name.count("/"), file.name))
    projectors = [file for file in files if _is_gguf(file) and PROJECTOR.search(_base(file))]
    templates = [file for file in files if _base(file) == TEMPLATE]
    return Companions(
        projector=min(projectors, key=_projector_rank, default=None),
        template=next(iter(templates), None),
        licences=tuple(file for file in files if LICENCE.fullmatch(_base(file))),
        heads=tuple(
            file
            for kind in DRAFT_HEADS
            for file in files
            if _is_gguf(file) and kind.match(_base(file))
        ),
    )


@dataclass(frozen=True, slots=True)
class _ShardSet:
    """Variant whose shards may be incomplete, which costs time to find out."""

    variant: Variant

    def check(self, repository: Repository) -> None:
        first = self.variant.files[0]
        shard = SHARD.fullmatch(first.name)
        if shard is None:
            return
        stem, total = shard["stem"], int(shard["total"])
        present = {file.name.lower() for file in self.variant.files}
        num_missing = total - sum(_is_shard_of(name, total) for name in present)
        if num_missing <= 0:
            return
        # never list all names: each of many files may announce 99999 shards
        names = (f"{stem}-{index:05}-of-{total:05}.gguf" for index in range(1, total + 1))
        missing = islice((n for n in names if n.lower() not in present), MAX_SHARDS_NAMED)
        named = ", ".join(missing) + f" and {num_missing - MAX_SHARDS_NAMED} more" * (
            num_missing > MAX_SHARDS_NAMED
        )
        raise IntegrityError(
            f"{repository.name} is incomplete: {named} is missing",
            hint=f"choose another one than {self.variant.quantization}, or try again later",
        )


@dataclass(frozen=True, slots=True, eq=False)
class _SameRepository:
    """Repository that is compared by identity: its files cannot be hashed."""

    repository: Repository

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameRepository) and other.repository is self.repository

    def __hash__(self) -> int:
        return id(self.repository)


def _sets(repository: Repository) -> tuple[_ShardSet, ...]:
    """Return all variants, complete or not, the smallest first."""
    return _sets_of(_SameRepository(repository))


@functools.lru_cache(maxsize=1)  # a pull asks several times about one listing
def _sets_of(listing: _SameRepository) -> tuple[_ShardSet, ...]:
    shards = _by_stem(file for file in listing.repository.files if _is_model(file))
    labels = _labels(shards)
    shard_sets = [_variant(labels[stem], files) for stem, files in shards.items()]
    shard_sets.sort(key=lambda each: (each.size_bytes, each.quantization))
    return tuple(map(_ShardSet, shard_sets))


def _by_stem(files: Iterable[RemoteFile]) -> dict[str, list[RemoteFile]]:
    """Group the shards of each model by path; a model in one file wins over a split one."""
    whole: dict[str, list[RemoteFile]] = {}
    split: dict[str, list[RemoteFile]] = {}
    for file in sorted(files, key=lambda file: file.name):
        shard = SHARD.fullmatch(file.name)
        stem = shard["stem"] if shard else file.name[: -len(SUFFIX)]
        (split if shard else whole).setdefault(stem, []).append(file)
    return split | whole


def _labels(stems: Iterable[str]) -> dict[str, str]:
    """Label each model with the first unique text of: quantization, file name, path."""
    stems = list(stems)
    labels: dict[str, str] = {}
    for name in (lambda stem: quantization_of(stem) or "", lambda stem: stem.rsplit("/", 1)[-1]):
        names = {stem: name(stem) for stem in stems if stem not in labels}
        uses = Counter(text.upper() for text in names.values())
        labels |= {stem: text for stem, text in names.items() if text and uses[text.upper()] == 1}
    return {stem: labels.get(stem, stem) for stem in stems}


def _variant(label: str, files: list[RemoteFile]) -> Variant:
    size = sum([file.size_bytes or 0 for file in files])
    return Variant(quantization=label, files=tuple(files), size_bytes=size)


def _is_shard_of(name: str, total: int) -> bool:
    shard = SHARD.fullmatch(name)
    return shard is not None and int(shard["total"]) == total and 1 <= int(shard["index"]) <= total


def _stated(repository: Repository, shard_sets: Sequence[_ShardSet], wanted: str) -> _ShardSet:
    names = {wanted.upper(), _canonical(wanted)}
    for shard_set in shard_sets:
        if shard_set.variant.quantization.upper() in names:
            return shard_set
    shown = [shard_set.variant for shard_set in shard_sets[:MAX_LISTED]]
    listed = ", ".join(f"{variant.quantization} {_size(variant)}" for variant in shown)
    listed += f" and {len(shard_sets) - len(shown)} more" * (len(shard_sets) > len(shown))
    alike = [each for each in shard_sets if quantization_of(each.variant.quantization) in names]
    problem = f"has several models in {wanted}" if alike else f"has no {wanted}"
    raise QuantizationNotFoundError(f"{repository.name} {problem}", hint=f"it has: {listed}")


def _canonical(tag: str) -> str:
    return (quantization_of(tag) or "") if QUANTIZATION.fullmatch(tag) else ""


def _distance_from_default(shard_set: _ShardSet) -> tuple[float, float, str]:
    """Return the sort key of a variant: near to Q4_K_M first, then larger first."""
    bits = bits_per_weight(quantization_of(shard_set.variant.files[0].name))
    is_default = shard_set.variant.quantization.removeprefix("UD-") == DEFAULT_QUANTIZATION
    distance = abs(bits - bits_per_weight(DEFAULT_QUANTIZATION)) - is_default * 1e-3
    return distance, -bits, shard_set.variant.quantization


def _projector_rank(file: RemoteFile) -> int:
    quantization = quantization_of(file.name) or ""
    return PROJECTORS.index(quantization) if quantization in PROJECTORS else len(PROJECTORS)


def _is_model(file: RemoteFile) -> bool:
    return _is_gguf(file) and not (NO_MODEL.search(_base(file)) or HEAD.match(_base(file)))


def _is_gguf(file: RemoteFile) -> bool:
    return file.name[-len(SUFFIX) :].lower() == SUFFIX


def _without_suffix(name: str) -> str:
    return name[: -len(SUFFIX)] if name[-len(SUFFIX) :].lower() == SUFFIX else name


def _base(file: RemoteFile) -> str:
    return file.name.rsplit("/", 1)[-1]


def _size(variant: Variant) -> str:
    size = variant.size_bytes
    return f"({size / 1e9:.1f} GB)" if size >= 10**9 else f"({size / 1e6:.0f} MB)"
