"""The offer to pull a model that is not here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.fakes.hub import fake_hub
from tests.program import PROGRAM
from tests.services.making import gguf

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.fake_server import FakeServer

if sys.platform != "win32":
    from tests.cli.chatting.prompt.pty_screen import PtyScreen

    @pytest.mark.parametrize(("answer", "code"), [("n\r", 3), ("\x04", 3), ("\x03", 130)])
    def test_declining_costs_nothing(
        server: FakeServer, tmp_path: Path, answer: str, code: int
    ) -> None:
        with fake_hub() as hub:
            hub.add("owner/model", {"model-Q8_0.gguf": gguf(1)})
            models = tmp_path / "models"
            environ = {**server.environment(tmp_path), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
            environ |= {"HF_ENDPOINT": hub.url, "LOCALRUN_MODELS": str(models)}
            words = ["run", "hf.co/owner/model:Q8_0", "why?"]

            with PtyScreen([*PROGRAM, *words], environ, columns=120) as terminal:
                shown = terminal.wait_for("Pull it? [Y/n]")
                terminal.type(answer)
                assert terminal.exit_status() == code

        assert "B, Q8_0, fits" in shown
        assert not [file for file in models.rglob("*") if file.is_file() and file.stat().st_size]
        assert server.script.heard == []
