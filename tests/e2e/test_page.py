"""The chat page of the real program: its files, and what it has rendered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

import localrun
from localrun.server.web.files import MODULES

if TYPE_CHECKING:
    from tests.e2e.conftest import Home

WEB = Path(localrun.__file__).parent / "server" / "web"
FILES = sorted(file.name for file in WEB.iterdir() if file.suffix in {".js", ".css", ".svg"})
PIECES = {
    "| a | b |\n|---|---|\n| 1 | 2 |": ["<table", ">2</td>"],
    "~~gone~~ and **bold**": ["<s>gone</s>", "<strong>bold</strong>"],
    "```python\ndef f(x): return 'y'\n```": ['class="k">def<', 'class="f">f<', 'class="s">'],
    "```rust\nfn main() {}\n```": ['class="k">fn<'],
    r"$\frac{\beta}{2}$": ["<mfrac>", "<mi>β</mi>"],
    "$$\\begin{pmatrix}1&2\\end{pmatrix}$$": ["<mtable>"],
}


def test_a_browser_gets_the_page_with_all_its_files(server: Home) -> None:
    page = httpx.get(server.url, headers={"Accept": "text/html"})
    login = httpx.get(f"{server.url}/login", follow_redirects=True, headers={"Accept": "text/html"})

    modules = re.findall(r'rel="modulepreload" href="/web/([a-z]+\.js)"', page.text)
    assert page.text == (WEB / "index.html").read_text().replace(
        MODULES.decode(),
        "".join(f'  <link rel="modulepreload" href="/web/{name}">\n' for name in modules),
    )
    assert {"app.js", "chat.js"} <= set(modules) <= set(FILES)
    assert login.content == page.content  # without keys there is nothing to log in to
    assert len(FILES) > 10
    served = {name: httpx.get(f"{server.url}/web/{name}").content for name in FILES}
    assert served == {name: (WEB / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("text", PIECES)
def test_markdown_code_and_formulas_are_rendered(server: Home, text: str) -> None:
    reply = httpx.post(f"{server.url}/api/localrun/render", json={"texts": [text]})

    html = "".join(block["html"] for block in reply.json()["results"][0]["blocks"])
    assert [piece for piece in PIECES[text] if piece not in html] == [], html
