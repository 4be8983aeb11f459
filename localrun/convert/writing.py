"""Writer of GGUF files: keys by the ``gguf`` package, tensors in chunks.

The file gets its name only when it is complete and synced to disk.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import gguf
import numpy as np

from localrun.disk import storage_error
from localrun.system.files import replace_file, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from localrun.convert.tensors import TensorPart

ALIGNMENT = gguf.GGUF_DEFAULT_ALIGNMENT


def write_file(
    path: Path,
    writer: gguf.GGUFWriter,
    parts: Sequence[TensorPart],
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the keys of ``writer`` and the tensors, replacing an existing file.

    ``on_progress`` is called with the number of tensor bytes written and the total.

    Raises:
        StorageError: the disk does not take the file.
    """
    for part in parts:
        kind = gguf.GGMLQuantizationType[part.kind]
        writer.add_tensor_info(part.name, part.shape, np.dtype(np.float32), part.num_bytes, kind)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        _write_header(partial, writer)
        with partial.open("ab") as file:
            _write_tensors(file, parts, on_progress)
            file.flush()
            os.fsync(file.fileno())
        replace_file(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        partial.unlink(missing_ok=True)


def _write_header(path: Path, writer: gguf.GGUFWriter) -> None:
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _write_tensors(
    file: BinaryIO, parts: Sequence[TensorPart], on_progress: Callable[[int, int], None] | None
) -> None:
    total = sum(part.num_bytes for part in parts)
    done = 0
    _pad(file)
    for part in parts:
        for chunk in part.chunks():
            file.write(np.ascontiguousarray(chunk).data)
            done += chunk.nbytes
            if on_progress is not None:
                on_progress(done, total)
        _pad(file)


def _pad(file: BinaryIO) -> None:
    file.write(bytes(-file.tell() % ALIGNMENT))
