"""Browsers and a server for the tests of the chat page.

``scripts/test --browsers`` runs the tests, in each browser that is installed. A server is the real
one with fake runners, which answer what the message says: see ``tests/fakes/fake_runner.py``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.errors import ModelNotFoundError
from localrun.services.stored_model import ModelIdentity, StoredModel
from tests.browsers.bidi import CHROMIUM, FIREFOX, Browser, browsing, programs
from tests.server import serving as servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.serving import Served

NAMES = ("fake:latest", "other:latest")


class TwoModels(servers.FakeCatalogue):
    """The models ``fake``, and ``other``, which sees."""

    def list_models(self) -> list[StoredModel]:
        seeing = replace(self.model.details, capabilities=("completion", "vision"))
        return [
            replace(self.model, name=name, digest="sha256:" + name[0] * 64, details=details)
            for name, details in zip(NAMES, (self.model.details, seeing), strict=True)
        ]

    def find_model(self, name: str) -> StoredModel:
        for model in self.list_models():
            if name in {model.name, model.name.removesuffix(":latest")}:
                return model
        raise ModelNotFoundError(f"model {name!r} is not on this machine", hint="localrun list")

    def identify(self, name: str) -> ModelIdentity:
        model = self.find_model(name)
        return ModelIdentity(model.name, model.digest)


@pytest.fixture(scope="session", params=[CHROMIUM, FIREFOX])
def browser(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    if "LOCALRUN_TEST_BROWSERS" not in os.environ:
        pytest.skip("scripts/test --browsers runs it")
    if request.param not in programs():
        pytest.skip(f"no {request.param} here: apt install chromium-driver firefox-esr")
    with browsing(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server with two models and chats of its own."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("LOCALRUN_CHATS", str(tmp_path_factory.mktemp("chats")))
        monkeypatch.delenv("LOCALRUN_NOSAVE", raising=False)
        monkeypatch.setattr(servers, "FakeCatalogue", TwoModels)
        with servers.serving() as served:
            yield served


@pytest.fixture
def page(browser: Browser, site: Served) -> Iterator[Browser]:
    """Return the browser at a new chat; fail on any error of a script or a policy."""
    browser.resize(1280, 900)
    browser.open("about:blank")
    browser.requests.clear()
    browser.errors.clear()
    browser.open(f"{site.url}/web/icon.svg")  # of the same origin
    browser.run("localStorage.clear(); sessionStorage.clear();")
    # else it is the one that an earlier test left in memory
    browser.run("localStorage.setItem('localrun:model', JSON.stringify('fake:latest'));")
    browser.open(f"{site.url}/")
    browser.wait("document.querySelector('#input')")
    yield browser
    check_left(browser)


def check_left(browser: Browser) -> None:
    """Leave the page; fail on an error in it, or a request to another server."""
    browser.run("return null;")  # after which all events until now have come
    errors = list(browser.errors)  # without those of requests that the browser breaks off
    browser.open("about:blank")
    assert [url for url in browser.requests if not url.startswith(inside(browser))] == []
    assert errors == []


def inside(browser: Browser) -> tuple[str, ...]:
    """Return how addresses begin that lead to no other server.

    The last request of a page that was left may be noted after it.
    """
    own = ("about:", "data:", "blob:", "chrome:", "moz-extension:", "resource:")
    return (*browser.origins, *own)
