"""Quantizing in a child process."""

from __future__ import annotations

import ctypes
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

import llama_cpp
import numpy as np
import pytest
from llama_cpp import llama_cpp as api

from localrun.engine.llama import child_task
from localrun.engine.llama.child_task import EngineTask, TaskEnd
from localrun.engine.llama.library import start
from localrun.engine.llama.task_channel import TaskChannel
from localrun.engine.quantizing import quantize as module
from localrun.engine.quantizing.choices import QuantizeOptions
from localrun.engine.quantizing.quantize import Quantized, quantize
from localrun.engine.quantizing.types import QUANTIZATIONS, Quantization, quantization
from localrun.errors import BackendError, IntegrityError, StorageError, UsageError
from localrun.gguf.data import check_data
from localrun.gguf.header import read_header
from tests.convert.loading import loaded, logits
from tests.fakes.full_disk import size_limit
from tests.gguf import builder
from tests.signals import SIGKILL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE_BYTES = 2 * 1024**3
CRASHING_CHILD = """
import json, os, pathlib, sys
pathlib.Path(json.loads(input())["output"]).write_bytes(b"half")
print('{"done": 0, "of": 2}', flush=True)
print("GGML_ASSERT(false) failed", file=sys.stderr, flush=True)
os._exit(134)
"""
WITHOUT_IMATRIX = [kind for kind in QUANTIZATIONS if not kind.needs_imatrix]
PARENT = """
import sys
from pathlib import Path
from localrun.engine.quantizing.quantize import quantize
from localrun.engine.quantizing.types import quantization
quantize(Path(sys.argv[1]), Path(sys.argv[2]), quantization("Q6_K"), threads=1)
"""


def make(source: Path, target: Path, kind: str, *, requantize: bool = True) -> Quantized:
    options = QuantizeOptions(allows_quantized=requantize)
    return quantize(source, target, quantization(kind), options=options, threads=1)


@pytest.fixture(scope="module")
def f16_path(guide_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f16") / "guide-f16.gguf"
    make(guide_path, path, "F16")
    return path


@pytest.fixture
def large_path(tmp_path: Path) -> Path:
    """Make a sparse file of zeros, on which llama.cpp works for many seconds."""
    path = tmp_path / "source" / "large.gguf"
    path.parent.mkdir()
    numbers = {
        "context_length": 64, "embedding_length": 4096, "block_count": 1,
        "feed_forward_length": 64, "attention.head_count": 1,
    }  # fmt: skip
    pairs = [
        builder.pair("general.architecture", builder.STRING, "llama"),
        builder.pair("llama.attention.layer_norm_rms_epsilon", builder.F32, 1e-5),
        builder.pair("tokenizer.ggml.model", builder.STRING, "none"),
        *(builder.pair(f"llama.{key}", builder.U32, value) for key, value in numbers.items()),
    ]
    path.write_bytes(
        builder.header(pairs, [builder.tensor("blk.0.ffn_up.weight", [4096, LARGE_BYTES // 16384])])
    )
    os.truncate(path, LARGE_BYTES + 4096)
    return path


def wait_for(path: Path, *, exists: bool) -> None:
    wait_until(lambda: path.exists() == exists)


def test_the_table_is_sorted_by_size_and_has_each_type_once() -> None:
    sizes = [kind.bits_per_weight for kind in QUANTIZATIONS]

    assert sizes == sorted(sizes, reverse=True)
    assert len({kind.name for kind in QUANTIZATIONS}) == len(QUANTIZATIONS)
    assert len({kind.file_type for kind in QUANTIZATIONS}) == len(QUANTIZATIONS)


@pytest.mark.parametrize("kind", QUANTIZATIONS, ids=lambda kind: kind.name)
def test_the_table_agrees_with_llama_cpp(guide_path: Path, kind: Quantization) -> None:
    lines: list[str] = []
    native_log = start(lines.append)
    params = api.llama_model_quantize_default_params()
    params.ftype, params.dry_run, params.allow_requantize = kind.file_type, True, True

    names = (str(guide_path).encode(), b"unused")
    assert llama_cpp.llama_model_quantize(*names, ctypes.byref(params)) == 0

    native_log.attach()  # it must have lived until here
    assert any("will require an imatrix" in line for line in lines) == kind.needs_imatrix
    number = getattr(
        api, f"LLAMA_FTYPE_{'ALL' if kind.name == 'F32' else 'MOSTLY'}_{kind.name}", None
    )
    assert number == kind.file_type


@pytest.mark.parametrize("kind", WITHOUT_IMATRIX, ids=lambda kind: kind.name)
def test_a_model_becomes_any_type_and_still_computes(
    f16_path: Path, tmp_path: Path, kind: Quantization
) -> None:
    made = make(f16_path, tmp_path / "made.gguf", kind.name, requantize=False)

    header = read_header(tmp_path / "made.gguf")
    assert header.file_type == kind.name
    assert made.size_bytes == (tmp_path / "made.gguf").stat().st_size
    assert made.bits_per_weight == pytest.approx(kind.bits_per_weight, abs=0.7)
    assert made.num_fallbacks == 0
    assert header.num_params == read_header(f16_path).num_params
    check_data(header, made.size_bytes)
    assert list(tmp_path.iterdir()) == [tmp_path / "made.gguf"]
    with loaded(tmp_path / "made.gguf") as model:
        computed = logits(model, model.tokenize("Paris is the capital of"))
    assert np.isfinite(computed).all()
    assert computed.std() > 0


def test_a_type_is_found_by_its_short_name(f16_path: Path, tmp_path: Path) -> None:
    make(f16_path, tmp_path / "made.gguf", "q5_k", requantize=False)

    assert read_header(tmp_path / "made.gguf").file_type == "Q5_K_M"


def test_progress_rises_to_the_number_of_tensors(guide_path: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    quantize(
        guide_path,
        tmp_path / "made.gguf",
        quantization("Q6_K"),
        options=QuantizeOptions(allows_quantized=True),
        on_progress=lambda done, of: heard.append((done, of)),
    )

    num_tensors = read_header(guide_path).num_tensors
    assert heard == [(done, num_tensors) for done in range(num_tensors + 1)]


def test_a_quantized_source_is_taken_only_on_demand(guide_path: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Q8_0 already") as caught:
        make(guide_path, tmp_path / "made.gguf", "Q4_K_M", requantize=False)

    assert "--requantize" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_needs_an_importance_matrix_names_the_next(
    guide_path: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="IQ2_XS needs an importance matrix") as caught:
        make(guide_path, tmp_path / "made.gguf", "IQ2_XS")

    assert (caught.value.hint or "").endswith("Q2_K needs none")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Q4_Z is not a quantization") as caught:
        quantization("Q4_Z")

    assert "Q4_K_M" in (caught.value.hint or "")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a model, but longer than a header")

    with pytest.raises(IntegrityError, match="does not begin with GGUF"):
        make(tmp_path / "text", tmp_path / "made.gguf", "Q4_K_M")
    assert list(tmp_path.iterdir()) == [tmp_path / "text"]


def test_a_folder_that_is_not_there_is_a_storage_error(guide_path: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written"):
        make(guide_path, tmp_path / "absent" / "made.gguf", "F16")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999999])
def test_a_disk_that_is_full_leaves_nothing(share: float, guide_path: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.gguf"
    limit = int(share * make(guide_path, made, "Q6_K").size_bytes)
    made.unlink()

    with size_limit(limit), pytest.raises(StorageError, match="cannot be written"):
        make(guide_path, made, "Q6_K")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("free_bytes", "reason"), [(1 << 40, "left it incomplete"), (0, "is full$")]
)
def test_a_file_that_llama_cpp_did_not_write_whole_gets_no_name(
    guide_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, reason: str
) -> None:
    def cut(_task: EngineTask, job: dict[str, str], _on_message: object) -> TaskEnd:
        Path(job["output"]).write_bytes(guide_path.read_bytes()[:-1])
        return TaskEnd({"bits_per_weight": "6.5", "num_fallbacks": "0"}, None)

    monkeypatch.setattr(module, "run_task", cut)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))

    with pytest.raises(StorageError, match=reason):
        make(guide_path, tmp_path / "made.gguf", "Q6_K")

    assert list(tmp_path.iterdir()) == []


def test_a_crash_leaves_nothing_and_tells_the_last_words(
    guide_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        child_task, "program_command", lambda: [sys.executable, "-c", CRASHING_CHILD]
    )

    with pytest.raises(BackendError, match=r"crashed .*GGML_ASSERT\(false\) failed"):
        make(guide_path, tmp_path / "made.gguf", "F16")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_the_child_and_leaves_nothing(
    large_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_done: int, _of: int) -> None:
        wait_for(tmp_path / "made.gguf.partial", exists=True)
        raise KeyboardInterrupt

    children: list[subprocess.Popen[bytes]] = []

    class Child(subprocess.Popen[bytes]):
        def __enter__(self) -> Self:
            children.append(self)
            return super().__enter__()

    monkeypatch.setattr(subprocess, "Popen", Child)
    with pytest.raises(KeyboardInterrupt):
        quantize(
            large_path,
            tmp_path / "made.gguf",
            quantization("Q6_K"),
            threads=1,
            on_progress=interrupt,
        )

    assert [child.returncode for child in children] == [-SIGKILL]
    assert list(tmp_path.iterdir()) == [tmp_path / "source"]


def test_a_killed_parent_takes_the_child_and_its_half_file_along(
    large_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "made.gguf"
    partial = tmp_path / "made.gguf.partial"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(large_path), str(target)]) as parent:
        wait_for(partial, exists=True)
        parent.send_signal(SIGKILL)

    wait_for(partial, exists=False)
    assert not target.exists()


@pytest.mark.parametrize("is_done", [True, False])
def test_the_end_of_the_parent_removes_an_output_only_while_it_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_done: bool
) -> None:
    output, codes = tmp_path / "small.gguf", list[int]()
    output.touch()
    monkeypatch.setattr(os, "_exit", codes.append)
    channel = TaskChannel(io.BytesIO(), io.StringIO(), lambda: output.unlink(missing_ok=True))
    if is_done:
        channel.finish()

    channel._exit_with_parent()

    assert output.exists() == is_done
    assert codes == [BackendError.exit_code]


class NoReader(io.StringIO):
    """Stream whose other end was closed."""

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("send", [lambda one: one.send(done=1, of=2), TaskChannel.finish])
def test_a_message_that_nobody_reads_removes_the_output_as_the_end_of_the_parent_does(
    send: Callable[[TaskChannel], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, codes = tmp_path / "small.gguf", list[int]()
    output.touch()
    monkeypatch.setattr(os, "_exit", codes.append)
    channel = TaskChannel(io.BytesIO(), NoReader(), lambda: output.unlink(missing_ok=True))

    send(channel)

    assert not output.exists()
    assert codes == [BackendError.exit_code]
