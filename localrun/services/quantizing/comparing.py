"""Comparison of quantizations of one model on a text: size, quality and speed of each.

The source is measured first, and its probabilities are kept in a file; then each type is made,
measured against them and removed. So one model is in memory and two are on the disk at a time.
Models of this machine with the same vocabulary can be measured as well, as they are.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.engine.measuring.perplexity import MeasuredText, measure
from localrun.engine.quantizing.quantize import plan_quantization, quantize
from localrun.engine.quantizing.types import Quantization, quantization
from localrun.errors import ModelNotFoundError, StorageError, UsageError
from localrun.gguf.data import tensor_bytes
from localrun.gguf.header import read_headers
from localrun.services.creating.quantizing import named_shards
from localrun.services.quantizing.imatrix import check_text, plain_model
from localrun.services.quantizing.placement import Placer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from localrun.engine.measuring.jobs import RunPlacement
    from localrun.engine.measuring.perplexity import Measured
    from localrun.engine.quantizing.choices import QuantizeOptions
    from localrun.gguf.header import Header
    from localrun.services.progress import ProgressReport
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace

MOST_TYPES = 40
MOST_BASE_BYTES = 32 * 10**9
FREE_SHARE = 2  # the probabilities may take a half of the free space


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedType:
    """Figures of one type, of the source, or of another model."""

    name: str  # of the type, or of the model
    is_source: bool
    size_bytes: int
    bits_per_weight: float
    measured: Measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Figures of a model's quantizations on a text, the source first."""

    model: str
    text: str
    chunk_size: int
    num_chunks: int
    num_tokens: int  # that are scored
    rows: tuple[ComparedType, ...]


def compare_quantizations(  # noqa: PLR0913 - one parameter an option
    workspace: Workspace,
    name: str,
    type_names: Sequence[str],
    text: MeasuredText,
    *,
    options: QuantizeOptions,
    threads: int = 0,
    device: str | None = None,
    report: ProgressReport,
) -> Comparison:
    """Measure a model and some quantizations of it on a text; leaves nothing behind.

    Raises:
        ModelNotFoundError: the model is not on this machine.
        NotFoundError: there is no such text.
        UsageError: a type or an option is not valid, the text is too short, or the model generates
            no text.
        StorageError: the disk is full.
        LoadError: llama.cpp refuses the model.
        BackendError: llama.cpp fails.
    """
    model = plain_model(workspace, name)
    candidates = _candidates(workspace, type_names)
    check_text(text.path)
    header = read_headers(model.shards)
    kinds = [each for each in candidates if isinstance(each, Quantization)]
    for kind in kinds:
        plan_quantization(header, kind, options)  # refuses before any work
    with workspace.store.lease() as lease, lease.folder() as folder:
        work = _Work(
            folder=folder,
            text=text,
            options=options,
            threads=threads,
            place=lambda model: Placer(workspace, model, text.chunk_size, device),
            report=report,
        )
        source = named_shards(list(model.shards), folder)
        _check_space(folder, header, kinds)
        rows = [work.measured_source(model, header)]
        for each in candidates:
            if isinstance(each, Quantization):
                rows.append(work.measured_type(model, source, header, each))
            else:
                rows.append(work.measured_model(each))
    return Comparison(
        model=model.name,
        text=text.path.name,
        chunk_size=text.chunk_size,
        num_chunks=rows[0].measured.num_chunks,
        num_tokens=rows[0].measured.num_tokens,
        rows=tuple(rows),
    )


def _candidates(workspace: Workspace, names: Sequence[str]) -> list[Quantization | StoredModel]:
    """Return what each name means: a type, or a model of this machine."""
    if not 0 < len(names) <= MOST_TYPES:
        raise UsageError(
            f"--compare takes 1 to {MOST_TYPES} types", hint="--compare Q4_K_M,Q5_K_M,Q8_0"
        )
    found = {name.upper(): _candidate(workspace, name) for name in names}
    return list(found.values())


def _candidate(workspace: Workspace, name: str) -> Quantization | StoredModel:
    try:
        return quantization(name)
    except UsageError as error:
        try:
            return plain_model(workspace, name)
        except ModelNotFoundError:
            raise error from None


def _check_space(folder: Path, header: Header, kinds: Sequence[Quantization]) -> None:
    """Refuse to begin what the disk has no room for."""
    free = shutil.disk_usage(folder).free
    if not kinds:
        return
    largest = max(kinds, key=lambda kind: kind.bits_per_weight)
    needed = int(header.num_params * largest.bits_per_weight / 8 * 0.9)  # 0.9: a lower bound
    if needed > free:
        raise StorageError(
            f"the disk of {folder} has {free / 1e9:.1f} GB free, and {largest.name} needs about "
            f"{needed / 1e9:.1f} GB for a while",
            hint="localrun prune   deletes unused files; localrun du   shows what takes space",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the measurements of one comparison share."""

    folder: Path
    text: MeasuredText
    options: QuantizeOptions
    threads: int
    place: Callable[[StoredModel], Placer]
    report: ProgressReport

    def measured_source(self, model: StoredModel, header: Header) -> ComparedType:
        free = shutil.disk_usage(self.folder).free
        measured = measure(
            model.shards,
            self.text,
            self._base,
            writes_base=True,
            most_base_bytes=min(MOST_BASE_BYTES, free // FREE_SHARE),
            threads=self.threads,
            placement=self.place(model).place(),
            on_progress=self._reading(f"measuring {header.file_type}"),
        )
        return _row(header.file_type, header, model.shards, measured, is_source=True)

    def measured_type(
        self, model: StoredModel, source: Path, header: Header, kind: Quantization
    ) -> ComparedType:
        target = self.folder / f"{kind.name}.gguf"
        size = _data_bytes(header)
        made = quantize(
            source,
            target,
            kind,
            header=header,
            options=self.options,
            threads=self.threads,
            on_progress=lambda done, of: self.report.advance(
                f"quantizing to {kind.name}", size * done // of, size
            ),
        )
        for note in made.notes:
            self.report.note(note)
        try:
            measured = self._compared([target], self.place(model).place([target]), kind.name)
            return _row(kind.name, header, [target], measured)
        finally:
            target.unlink(missing_ok=True)

    def measured_model(self, model: StoredModel) -> ComparedType:
        measured = self._compared(model.shards, self.place(model).place(), model.name)
        return _row(model.name, read_headers(model.shards), model.shards, measured)

    def _compared(self, shards: Sequence[Path], placement: RunPlacement, label: str) -> Measured:
        return measure(
            shards,
            self.text,
            self._base,
            writes_base=False,
            threads=self.threads,
            placement=placement,
            on_progress=self._reading(f"measuring {label}"),
        )

    @property
    def _base(self) -> Path:
        return self.folder / "base"

    def _reading(self, label: str) -> Callable[[int, int], None]:
        size = self.text.path.stat().st_size

        def advance(done: int, of: int) -> None:
            self.report.advance(label, size * done // of, size)

        return advance


def _row(
    name: str,
    header: Header,
    shards: Sequence[Path],
    measured: Measured,
    *,
    is_source: bool = False,
) -> ComparedType:
    size_bytes = sum(shard.stat().st_size for shard in shards)
    return ComparedType(
        name=name,
        is_source=is_source,
        size_bytes=size_bytes,
        bits_per_weight=8 * size_bytes / max(1, header.num_params),
        measured=measured,
    )


def _data_bytes(header: Header) -> int:
    return sum(tensor_bytes(tensor) or 0 for tensor in header.tensors.values())
