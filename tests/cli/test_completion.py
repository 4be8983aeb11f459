"""Names of models that the Tab key completes."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.cli.completion import complete_model
from localrun.names.parse import parse_name
from localrun.services.naming import copy_model
from localrun.services.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    logging.disable(logging.NOTSET)


def test_names_that_begin_so_are_completed() -> None:
    workspace = open_workspace(os.environ)
    for name in ("gumbo", "gumbo:7b", "other"):
        copy_model(workspace, parse_name("guide"), parse_name(name))

    assert complete_model("gu") == ["guide", "gumbo:7b", "gumbo"]
    assert complete_model("gumbo:l") == ["gumbo:latest"]
    assert complete_model("gumbo:latest") == ["gumbo:latest"]
    assert complete_model("zz") == []


def test_a_store_that_cannot_be_read_completes_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALRUN_MODELS", str(Path(os.devnull)))

    assert complete_model("nosuch") == []
    assert capfd.readouterr() == ("", "")
