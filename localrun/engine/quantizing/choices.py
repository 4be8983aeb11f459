"""Types of single tensors in a quantized file: what the user, the families and llama.cpp choose.

    1  --tensor-type PATTERN=TYPE, --output-tensor-type, --token-embedding-type
    2  exceptions of families (kept.py), unless --pure
    3  llama.cpp's mixture for the file type, unless --pure

Everything that makes llama.cpp abort or silently do something else is refused here, from the header
of the source alone: a type whose blocks do not divide a tensor's rows, a pattern without an effect,
a type that needs an importance matrix without one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from localrun.engine.quantizing.kept import (
    families_overrides,
    further_layers,
    is_quantizable,
    layer_of,
)
from localrun.engine.quantizing.patterns import TensorPattern
from localrun.engine.quantizing.types import (
    BLOCKS,
    NEED_IMATRIX,
    QUANTIZATIONS,
    quantization,
    tensor_type,
)
from localrun.errors import UsageError
from localrun.gguf.data import TENSOR_TYPES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from localrun.engine.quantizing.types import Quantization
    from localrun.gguf.header import Header

MOST_RULES = 100
OUTPUT, TOKEN_TABLE, LAYER_TABLE = (
    "output.weight",
    "token_embd.weight",
    "per_layer_token_embd.weight",
)
WITHOUT_FALLBACK = frozenset({"Q1_0", "NVFP4"})  # llama.cpp has no smaller block for them
UNMEASURED = "Q4_K"  # of layers that an importance matrix cannot measure


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRule:
    """Type of all tensors whose names a pattern matches."""

    pattern: TensorPattern
    type_name: str

    @classmethod
    def parse(cls, text: str) -> TensorRule:
        """Parse PATTERN=TYPE.

        Raises:
            UsageError: it has another form, or an unknown type.
        """
        pattern, equals, type_name = text.rpartition("=")
        if not (equals and pattern and type_name):
            raise UsageError(
                f"--tensor-type {text[:80]} is not PATTERN=TYPE", hint="--tensor-type attn_v=q8_0"
            )
        return cls(pattern=TensorPattern(pattern), type_name=tensor_type(type_name))


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """Options of a quantization beyond its type; the types are names such as Q8_0."""

    rules: tuple[TensorRule, ...] = ()  # the first that matches counts
    imatrix: Path | None = None
    output_type: str | None = None  # of output.weight, or of the table that the output shares
    embedding_type: str | None = None  # of the table of tokens
    is_pure: bool = False  # one type for all tensors
    allows_quantized: bool = False  # take a source that is quantized already

    @classmethod
    def parse(
        cls,
        *,
        tensor_types: Collection[str] = (),
        imatrix: Path | None = None,
        output_type: str | None = None,
        embedding_type: str | None = None,
        is_pure: bool = False,
        allows_quantized: bool = False,
    ) -> QuantizeOptions:
        """Parse options as they are typed.

        Raises:
            UsageError: a pattern or a type is not valid, or there are too many.
        """
        if len(tensor_types) > MOST_RULES:
            raise UsageError(f"--tensor-type is given more than {MOST_RULES} times")
        return cls(
            rules=tuple(TensorRule.parse(text) for text in tensor_types),
            imatrix=imatrix,
            output_type=None if output_type is None else tensor_type(output_type),
            embedding_type=None if embedding_type is None else tensor_type(embedding_type),
            is_pure=is_pure,
            allows_quantized=allows_quantized,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorChoices:
    """Types that llama.cpp is told to give to tensors of one source, by their names."""

    types: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()  # lines for the user


NO_OPTIONS = QuantizeOptions()


def quantized_type(header: Header) -> str | None:
    """Return the type of the largest quantized part of a file, None if nothing is quantized."""
    sizes: dict[str, int] = {}
    for name, tensor in header.tensors.items():
        kind = TENSOR_TYPES.get(tensor.kind)
        if kind is not None and kind.num_numbers > 1 and name.endswith("weight"):
            sizes[kind.name] = sizes.get(kind.name, 0) + tensor.num_elements
    return max(sizes, key=lambda name: sizes[name]) if sizes else None


def choose_types(
    header: Header,
    kind: Quantization,
    options: QuantizeOptions,
    measured: Collection[str] | None = None,
) -> TensorChoices:
    """Return the types of single tensors for a quantization of a source.

    ``measured`` are the tensors in the importance matrix, None if there is none.

    Raises:
        UsageError: an option has no effect, or llama.cpp cannot do what it says.
    """
    _check_tables(header, options, measured)
    if not kind.is_quantized:
        _refuse_without_effect(header, kind, options)
        return TensorChoices()
    types = {} if options.is_pure else families_overrides(header, kind.tensor_type)
    if kind.needs_imatrix and measured is not None:
        types.update(_unmeasured_types(header, measured))
    types.update(_shared_table_type(header, options))
    types.update(_user_types(header, options))
    for name in _table_types(header, options):
        types.pop(name, None)  # llama.cpp has an option of its own for them
    _check_measured(kind, types, measured)
    return TensorChoices(types=types, notes=_notes(header, kind, measured))


def _refuse_without_effect(header: Header, kind: Quantization, options: QuantizeOptions) -> None:
    given = {
        "--tensor-type": bool(options.rules),
        "--pure": options.is_pure,
        "--imatrix": options.imatrix is not None,
        "--output-tensor-type": bool(_shared_table_type(header, options)),
    }
    for name, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{name} has no effect on {kind.name}, which has one type for all tensors",
                hint=f"leave {name} out, or take a quantized type such as Q8_0",
            )


def _unmeasured_types(header: Header, measured: Collection[str]) -> dict[str, str]:
    """Return types for layers that an importance matrix does not reach: they are not computed."""
    further = further_layers(header)
    return {
        name: UNMEASURED
        for name, tensor in header.tensors.items()
        if layer_of(name) in further
        and name not in measured
        and is_quantizable(name, tensor, header.architecture)
    }


def _user_types(header: Header, options: QuantizeOptions) -> dict[str, str]:
    types: dict[str, str] = {}
    matched: set[int] = set()
    kept: set[int] = set()  # rules that match tensors which llama.cpp never quantizes
    for name, tensor in header.tensors.items():
        for number, rule in enumerate(options.rules):
            if rule.pattern.matches(name):
                if is_quantizable(name, tensor, header.architecture):
                    _check_blocks(name, tensor.sizes[0], rule.type_name)
                    types[name] = rule.type_name
                    matched.add(number)
                else:
                    kept.add(number)
                break
    for number, rule in enumerate(options.rules):
        if number not in matched:
            reason = "only tensors that are never quantized" if number in kept else "no tensor"
            raise UsageError(
                f"--tensor-type {rule.pattern.text}={rule.type_name} matches {reason}"
                " that no earlier pattern matches",
                hint="localrun show MODEL --tensors   lists the names",
            )
    return types


def _check_blocks(name: str, row: int, type_name: str) -> None:
    if row % BLOCKS[type_name] and type_name in WITHOUT_FALLBACK:
        raise UsageError(
            f"{name} has rows of {row} numbers, which {type_name} cannot store",
            hint=f"a type with other blocks than {BLOCKS[type_name]}, such as Q8_0",
        )


def _table_types(header: Header, options: QuantizeOptions) -> dict[str, str]:
    """Return the types of tables and output that llama.cpp's own options for them give."""
    types = {}
    if options.embedding_type is not None:
        types[TOKEN_TABLE] = options.embedding_type
        if not any(rule.pattern.matches(LAYER_TABLE) for rule in options.rules):
            types[LAYER_TABLE] = options.embedding_type
    if options.output_type is not None:
        types[OUTPUT] = options.output_type
    return {name: kind for name, kind in types.items() if name in header.tensors}


def _shared_table_type(header: Header, options: QuantizeOptions) -> dict[str, str]:
    """Return the output's type for the table of tokens, if the model has one table for both."""
    if options.output_type is None or options.embedding_type is not None:
        return {}
    is_shared = OUTPUT not in header.tensors and TOKEN_TABLE in header.tensors
    return {TOKEN_TABLE: options.output_type} if is_shared else {}


def _check_tables(
    header: Header, options: QuantizeOptions, measured: Collection[str] | None
) -> None:
    """Refuse types of tables on which llama.cpp would abort."""
    types = _table_types(header, options) | _shared_table_type(header, options)
    for name, type_name in types.items():
        row = header.tensors[name].sizes[0]
        if row % BLOCKS[type_name]:
            raise UsageError(
                f"{name} has rows of {row} numbers, which {type_name} cannot store",
                hint="a type with smaller blocks, such as Q8_0",
            )
        if type_name in NEED_IMATRIX and name not in (measured or ()):
            raise UsageError(
                f"{name} cannot be {type_name} without its importance matrix",
                hint="a type that needs none, such as Q6_K",
            )


def _check_measured(
    kind: Quantization, types: Mapping[str, str], measured: Collection[str] | None
) -> None:
    """Refuse types that need the importance of each column, which is not known."""
    if kind.needs_imatrix and measured is None:
        raise UsageError(
            f"{kind.name} needs an importance matrix",
            hint="localrun imatrix MODEL TEXT   computes one for --imatrix; "
            f"{next_larger(kind)} needs none",
        )
    for name, type_name in types.items():
        if type_name in NEED_IMATRIX and name not in (measured or ()):
            raise UsageError(
                f"{name} cannot be {type_name} without its importance matrix",
                hint="localrun imatrix MODEL TEXT   computes one for --imatrix",
            )


def next_larger(kind: Quantization) -> str:
    """Return the next larger type that needs no importance matrix and is for all models."""
    larger = QUANTIZATIONS[: QUANTIZATIONS.index(quantization(kind.name))]
    return next(kind.name for kind in reversed(larger) if not kind.needs_imatrix and not kind.note)


def _notes(header: Header, kind: Quantization, measured: Collection[str] | None) -> tuple[str, ...]:
    if measured is None:
        return ()
    tensors = header.tensors.items()
    names = [name for name, tensor in tensors if is_quantizable(name, tensor, header.architecture)]
    absent = [name for name in names if name not in measured and name.startswith("blk.")]
    if not absent:
        return ()
    return (
        (
            f"the importance matrix lacks {len(absent)} of {len(names)} tensors, such as "
            f"{absent[0]}: they become {kind.name} without it"
        ),
    )
