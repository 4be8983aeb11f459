from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from tests.server.serving import Served


def render(served: Served, *texts: str) -> httpx.Response:
    return httpx.post(f"{served.url}/api/localrun/render", json={"texts": texts})


def test_texts_become_blocks(served: Served) -> None:
    answer = render(served, "a\r\n\r\nb", "")

    assert answer.json() == {
        "results": [
            {
                "blocks": [
                    {"line": 0, "html": '<p dir="auto">a</p>\n'},
                    {"line": 2, "html": '<p dir="auto">b</p>\n'},
                ]
            },
            {"blocks": []},
        ]
    }


def test_too_much_text_is_refused(served: Served) -> None:
    for texts in (["x" * 300_000], ["x" * 200_000] * 2, ["x"] * 65):
        answer = render(served, *texts)

        assert answer.status_code == 400
        assert "texts" in answer.json()["error"]
