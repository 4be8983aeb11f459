from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from tests.server.serving import serving

if TYPE_CHECKING:
    from tests.server.serving import Served


def why(served: Served, model: str) -> httpx.Response:
    return httpx.get(f"{served.url}/api/localrun/why", params={"model": model}, timeout=30)


def test_a_loaded_model_tells_who_chose_what() -> None:
    with serving() as served:
        options = {"num_ctx": 512}
        body = {"model": "fake", "prompt": "say x", "stream": False, "options": options}
        httpx.post(f"{served.url}/api/generate", json=body, timeout=30)

        told = why(served, "fake").json()

    assert (told["name"], told["context"]) == ("fake:latest", 512)
    context = next(it for it in told["settings"] if it["name"] == "context")
    assert (context["value"], context["source"]) == ("512", "request")


def test_a_model_that_is_not_loaded_has_no_reasons() -> None:
    with serving() as served:
        asleep, unknown = why(served, "fake"), why(served, "nosuch")

    assert (asleep.status_code, unknown.status_code) == (404, 404)
    assert "localrun plan fake" in asleep.json()["hint"]
