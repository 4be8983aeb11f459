"""Result lines: what was damaged is answered again, and no custom id has two lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from localrun.server.batches.own_requests import OwnResponse
from localrun.server.batches.results import ResultFiles

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = OwnResponse(200, "r", b'{"usage": null}')


def opened(folder: Path) -> ResultFiles:
    return ResultFiles(folder / "output", folder / "errors", total=3)


@pytest.mark.parametrize(
    "damage", [b"\0\0\0\n", b'{"custom_id": "b", "resp\n', b'{"other": 1}\n', b'"b"\n', b'{"cust']
)
def test_a_damaged_line_is_cut_off_with_what_follows(tmp_path: Path, damage: bytes) -> None:
    results = opened(tmp_path)
    results.add("a", ANSWER)
    results.close()
    with (tmp_path / "output").open("ab") as file:
        file.write(damage)

    again = opened(tmp_path)
    again.add("b", ANSWER)
    again.close()

    lines = (tmp_path / "output").read_bytes().splitlines()
    assert [json.loads(each)["custom_id"] for each in lines] == ["a", "b"]
    assert again.done == {"a", "b"}
    assert again.counts.completed == 2
