"""A projector that ends its runner is not loaded again, and text is answered all the same."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from PIL import Image

from localrun.store.store import embedded_models
from tests.e2e.conftest import make_home
from tests.engine.media.pairs import write_pair
from tests.engine.media.seeing import picture
from tests.waiting import HANG_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Home

HINT = "localrun verify broken:latest   checks files and tries it again"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("broken")
    found = make_home(tmp_path_factory.mktemp("home"))
    found.environ["LOCALRUN_MODELS"] = str(folder / "models")
    text, projector = write_pair(folder, "idefics3", embedded_models()["guide:latest"], joined=3)
    recipe = f"FROM {text}\nFROM {projector}\nPARAMETER temperature 0\n"
    done = found.run("create", "broken", "-f", "-", stdin=recipe)
    assert done.returncode == 0, done.stderr
    yield found
    found.run("stop", "--server")


def ask(home: Home, content: Any) -> httpx.Response:
    body = {"model": "broken", "max_tokens": 4, "messages": [{"role": "user", "content": content}]}
    return httpx.post(f"{home.url}/v1/chat/completions", json=body, timeout=HANG_S)


def look() -> list[dict[str, Any]]:
    out = io.BytesIO()
    Image.fromarray(picture(1)).save(out, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}]


def test_a_projector_that_ends_its_runner_is_tried_again_only_after_verify(home: Home) -> None:
    assert home.run("load", "broken").returncode == 0

    first, second, text = ask(home, look()), ask(home, look()), ask(home, "Hello")
    verified = home.run("verify", "broken")
    home.run("stop", "broken")
    again = ask(home, look())

    assert "its runner ended" in first.text
    assert (
        "the projector of broken:latest ended its runner before"
        in second.json()["error"]["message"]
    )
    assert HINT in second.text
    assert text.status_code == 200
    assert verified.returncode == 0
    assert "its runner ended" in again.text
