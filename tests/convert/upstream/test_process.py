"""The process in which llama.cpp's converter runs, with a converter of a few lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from localrun.convert.upstream import process
from localrun.convert.upstream.process import convert_upstream
from localrun.errors import BackendError, IntegrityError, NotFoundError, UsageError
from tests.convert.upstream.fakes import fake_component, fake_model

if TYPE_CHECKING:
    from pathlib import Path

LISTS = "output.write_text(' '.join(sorted(path.name for path in folder.iterdir())))"
NETWORK = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
PROGRAM = "import subprocess; subprocess.run(['true'])"
SHELL = "import os; os.system('true')"
UNPICKLES = "import pickle; pickle.loads(b'cos\\nsystem\\n.')"
ELSEWHERE = "pathlib.Path({path!r}).write_text('x')"
REMOVES = "pathlib.Path({path!r}).unlink()"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return fake_model(tmp_path / "model")


def test_the_output_gets_its_name_when_it_is_whole(tmp_path: Path, model: Path) -> None:
    progress: list[tuple[int, int]] = []
    target = tmp_path / "made.gguf"

    convert_upstream(
        fake_component(tmp_path), model, target, on_progress=lambda *pair: progress.append(pair)
    )

    assert target.read_bytes() == b"x" * 1000
    assert progress[-1] == (1000, 1000)
    assert not list(tmp_path.glob("*.partial"))


def test_the_converter_sees_data_only(tmp_path: Path, model: Path) -> None:
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text("{}")
    target = tmp_path / "made.gguf"

    convert_upstream(fake_component(tmp_path, LISTS), model, target)

    assert target.read_text().split() == [
        "1_Pooling", "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json",
        "tokenizer.model",
    ]  # fmt: skip


@pytest.mark.parametrize("code", [NETWORK, PROGRAM, SHELL, UNPICKLES])
def test_what_a_conversion_does_not_need_is_refused(tmp_path: Path, model: Path, code: str) -> None:
    target = tmp_path / "made.gguf"

    with pytest.raises(UsageError, match=r"is not allowed|No module|Network is unreachable"):
        convert_upstream(fake_component(tmp_path, code), model, target)

    assert not target.exists()


@pytest.mark.parametrize("code", [ELSEWHERE, REMOVES])
def test_files_elsewhere_stay_as_they_are(tmp_path: Path, model: Path, code: str) -> None:
    precious = tmp_path / "model" / "config.json"
    component = fake_component(tmp_path, code.format(path=str(precious)))
    made = tmp_path / "out"
    made.mkdir()

    with pytest.raises(UsageError, match="not allowed here"):
        convert_upstream(component, model, made / "made.gguf")

    assert precious.read_text() == "{}"


def test_the_reason_of_the_converter_is_told(tmp_path: Path, model: Path) -> None:
    component = fake_component(tmp_path, "raise KeyError('n_head')")

    with pytest.raises(UsageError, match="KeyError: 'n_head'"):
        convert_upstream(component, model, tmp_path / "made.gguf")


def test_its_last_words_are_told_if_it_only_exits(tmp_path: Path, model: Path) -> None:
    component = fake_component(tmp_path, "print('no such tokenizer', file=sys.stderr); sys.exit(1)")

    with pytest.raises(UsageError, match="no such tokenizer"):
        convert_upstream(component, model, tmp_path / "made.gguf")


def test_a_crash_is_an_error_that_names_the_status(tmp_path: Path, model: Path) -> None:
    component = fake_component(tmp_path, "import os; output.write_text('x'); os._exit(77)")

    with pytest.raises(BackendError, match="77"):
        convert_upstream(component, model, tmp_path / "made.gguf")

    assert not list(tmp_path.glob("made*"))


def test_a_converter_without_progress_is_stopped(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STALL_S", 0.5)
    component = fake_component(tmp_path, "import time; time.sleep(600)")

    with pytest.raises(BackendError, match="was stopped"):
        convert_upstream(component, model, tmp_path / "made.gguf")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded on Linux")
def test_memory_is_bounded(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LEAST_MEMORY", 300_000_000)
    component = fake_component(tmp_path, "huge = bytearray(400_000_000)")

    with pytest.raises(UsageError, match="GB of memory"):
        convert_upstream(component, model, tmp_path / "made.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="files are bounded on Unix")
def test_the_size_of_the_output_is_bounded(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "OUTPUT_EXTRA", 1000)
    component = fake_component(tmp_path, "output.write_bytes(bytes(100_000))")

    with pytest.raises((UsageError, BackendError), match=r"too large|status"):
        convert_upstream(component, model, tmp_path / "made.gguf")


def test_a_folder_without_safetensors_is_refused(tmp_path: Path, model: Path) -> None:
    (model / "model.safetensors").unlink()

    with pytest.raises(NotFoundError, match="no safetensors"):
        convert_upstream(fake_component(tmp_path), model, tmp_path / "made.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, model: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    (model / "extra.json").symlink_to(secret)

    with pytest.raises(IntegrityError, match="leads out"):
        convert_upstream(fake_component(tmp_path), model, tmp_path / "made.gguf")
