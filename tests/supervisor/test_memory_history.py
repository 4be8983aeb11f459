from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.supervisor.devices import only_processor
from localrun.supervisor.memory_history import MemoryHistory
from tests.fakes.starting import fake_model

if TYPE_CHECKING:
    from pathlib import Path


def test_what_did_not_fit_is_remembered_by_the_next_server(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "needs.json"
    MemoryHistory(path).remember(fake_model(), only_processor(), 0.75)

    assert MemoryHistory(path).tightness(fake_model(), only_processor) == 0.75
    assert MemoryHistory(path).tightness(fake_model("other"), only_processor) == 1.0


def test_another_machine_or_other_options_begin_anew(tmp_path: Path) -> None:
    needs = MemoryHistory(tmp_path / "needs.json")
    needs.remember(fake_model(), only_processor(), 0.75)
    (processor,) = only_processor()
    larger = [replace(processor, total_bytes=2 * processor.total_bytes)]

    assert needs.tightness(fake_model(), lambda: larger) == 1.0
    assert needs.tightness(replace(fake_model(), num_ctx=512), only_processor) == 1.0


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 2}', json.dumps({"format_version": 1})]
)
def test_a_file_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "needs.json"
    path.write_text(text)
    needs = MemoryHistory(path)

    assert needs.tightness(fake_model(), only_processor) == 1.0
    needs.remember(fake_model(), only_processor(), 0.5)
    assert MemoryHistory(path).tightness(fake_model(), only_processor) == 0.5


def test_a_share_that_makes_no_sense_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "needs.json"
    needs = MemoryHistory(path)
    needs.remember(fake_model(), only_processor(), 0.5)
    path.write_text(path.read_text().replace("0.5", "-3"))

    assert MemoryHistory(path).tightness(fake_model(), only_processor) == 1.0


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    MemoryHistory(tmp_path / "file" / "needs.json").remember(fake_model(), only_processor(), 0.5)
