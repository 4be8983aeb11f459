"""Importance matrix of a model of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.measuring.imatrix import compute_imatrix
from localrun.engine.quantizing.imatrix_file import read_index
from localrun.errors import IntegrityError, NotFoundError, UsageError
from localrun.names.adapters import split_adapters
from localrun.services.quantizing.placement import Placer
from localrun.services.remotes.stored import refuse_remote

if TYPE_CHECKING:
    from localrun.services.progress import ProgressReport
    from localrun.services.stored_model import StoredModel
    from localrun.services.workspace import Workspace

ENDING = ".imatrix.gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixOptions:
    """Part of a text that is read."""

    chunk_size: int = 512
    most_chunks: int | None = None  # None: the whole text
    threads: int = 0  # 0: all cores
    device: str | None = None  # None: as the settings say


@dataclass(frozen=True, slots=True, kw_only=True)
class ImatrixFile:
    """A file that was written."""

    path: str
    model: str
    num_chunks: int
    chunk_size: int
    num_tensors: int
    num_restored: int  # chunks of an interrupted run


def make_imatrix(
    workspace: Workspace,
    name: str,
    text: Path,
    *,
    output: Path | None,
    options: ImatrixOptions,
    report: ProgressReport,
) -> ImatrixFile:
    """Compute the importance matrix of a model on a text; blocks for as long as it reads it.

    Raises:
        ModelNotFoundError: the model is not on this machine.
        NotFoundError: there is no such text.
        UsageError: the text is too short, the model generates none, or ``output`` is another file.
        LoadError: llama.cpp refuses the model.
        StorageError: the file cannot be written.
        BackendError: llama.cpp fails.
    """
    model = plain_model(workspace, name)
    check_text(text)
    path = output or Path(f"{_file_name(model)}{ENDING}")
    _refuse_other_file(path)
    size = text.stat().st_size
    label = f"reading {text.name}"
    has_begun = False

    def advance(done: int, of: int) -> None:
        nonlocal has_begun
        if not has_begun:
            before = f", {done} of them read by an interrupted command" if done else ""
            report.note(f"{of} chunks of {options.chunk_size} tokens{before}")
            has_begun = True
        report.advance(label, size * done // of, size)

    made = compute_imatrix(
        model.shards,
        text,
        path,
        model_id=model_id(model),
        chunk_size=options.chunk_size,
        most_chunks=options.most_chunks,
        threads=options.threads,
        placement=Placer(workspace, model, options.chunk_size, options.device).place(),
        on_progress=advance,
    )
    return ImatrixFile(
        path=str(path),
        model=model.name,
        num_chunks=made.num_chunks,
        chunk_size=options.chunk_size,
        num_tensors=made.num_tensors,
        num_restored=made.num_restored,
    )


def plain_model(workspace: Workspace, name: str) -> StoredModel:
    """Return a model without adapters.

    Raises:
        ModelNotFoundError: the model is not on this machine.
        UsageError: the name has adapters, or the model is remote.
    """
    if split_adapters(name)[1]:
        raise UsageError(
            f"{name} is a model with adapters, which are not quantized",
            hint=f"name the model alone: {name.partition('+')[0]}",
        )
    model = workspace.models.find_model(name)
    refuse_remote(model, "its weights are not")
    return model


def check_text(text: Path) -> None:
    """Check that a text can be read.

    Raises:
        NotFoundError: there is no such file.
    """
    if not text.is_file():
        raise NotFoundError(
            f"no such text: {text}", hint="a file of plain text, such as the raw text of WikiText"
        )


def model_id(model: StoredModel) -> str:
    """Return what tells the weights of a model from all others."""
    if model.weights:
        return ",".join(model.weights)
    stats = [path.stat() for path in model.shards]
    return ",".join(f"{stat.st_ino} {stat.st_size} {stat.st_mtime_ns}" for stat in stats)


def _file_name(model: StoredModel) -> str:
    base = model.shards[0].stem if model.name.endswith(".gguf") else model.name.rsplit("/", 1)[-1]
    return base.replace(":", "-")


def _refuse_other_file(path: Path) -> None:
    """Refuse to replace a file that is no importance matrix."""
    if not path.exists():
        return
    try:
        read_index(path)
    except (IntegrityError, NotFoundError) as error:
        raise UsageError(
            f"{path} exists and is no importance matrix", hint="-o FILE   names another file"
        ) from error
