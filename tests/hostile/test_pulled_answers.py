"""Answers of hubs and registries cost what their size does, and are refused by our own errors."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import urllib3

from localrun.errors import LocalrunError
from localrun.registry.http import Http, Response
from localrun.registry.hubs.huggingface import HuggingFace
from localrun.registry.hubs.modelscope import ModelScope
from localrun.registry.oci.registry import OciRegistry
from localrun.registry.quantization import choose, companions, shards_of, variants
from localrun.registry.remote import FileSource
from localrun.registry.transfer.range_reader import ask
from tests.hostile.growth import LONGEST_MESSAGE, refusal
from tests.hostile.repetitions import OBJECTS, UNITS, deep_lists, list_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from localrun.registry.remote import Repository
    from tests.hostile.growth import Growth

HOST = "registry.example"
HEADERS = {
    "Link": "<{}",
    "WWW-Authenticate": 'Bearer realm="{}"',
    "Location": "https://host/{}",
    "Retry-After": "{}",
    "Content-Range": "bytes {}-0/0",
    "Content-Length": "{}",
    "Content-Type": "{}",
    "Docker-Content-Digest": "sha256:{}",
    "ETag": "{}",
    "X-Error-Code": "{}",
    "Content-Encoding": "{}",
}
STATUSES = (200, 206, 302, 401, 404, 416, 429)
HEADER_UNITS = ("<", "a", "9", " ", ", ", '"', "\\", "a=", "/..", "<a>; ", "Bearer a ", "%41")
FILE = {"rfilename": "a-Q4_K_M.gguf", "size": 1}
LISTINGS: dict[str, Callable[[int], Any]] = {
    "files": lambda n: {"siblings": [_file(f"m{i}-Q4_K_M.gguf") for i in range(n // 45)]},
    "announced shards": lambda n: {
        "siblings": [_file(f"m{i}-00001-of-99999.gguf") for i in range(n // 55)]
    },
    "shards": lambda n: {"siblings": [_file(f"m-{i:05}-of-99999.gguf") for i in range(1, n // 55)]},
    "projectors": lambda n: {"siblings": [_file(f"mmproj-{i}.gguf") for i in range(n // 45)]},
    "licences": lambda n: {"siblings": [_file(f"{i}/LICENSE") for i in range(n // 45)]},
    "long name": lambda n: {"siblings": [_file("-Q4" * (n // 3) + ".gguf")]},
    "quantizations": lambda n: {"siblings": [_file("Q4" + "_0" * (n // 2) + "x.gguf")]},
    "folders": lambda n: {"siblings": [_file("a/" * (n // 2) + "b.gguf")]},
    "empty files": lambda n: {"siblings": list_of({}, n)},
    "endless size": lambda n: {"siblings": [FILE | {"size": 1e999}], "a": "a" * n},
    "deep": deep_lists,
    "keys": OBJECTS["many keys"],
    "tags": lambda n: {"siblings": [FILE], "tags": ["a"] * (n // 5)},
}


class FakeHttp:
    """Answers each request with the same status, headers and body."""

    def __init__(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        self._status = status
        self._body = body
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def check_online(self, url: str) -> None:
        """There is a network."""

    def open(self, url: str, **_: Any) -> Response:
        raw = urllib3.HTTPResponse(
            io.BytesIO(self._body),
            headers=self._headers,
            status=self._status,
            preload_content=False,
            enforce_content_length=False,
        )
        return Response(raw, url)


def http(status: int = 200, body: bytes = b"", **headers: str) -> Http:
    return cast("Http", FakeHttp(status, body, **headers))


def look_at(repository: Repository) -> None:
    """Choose in a repository as a pull does."""
    acts: tuple[Callable[[Repository], object], ...] = (
        variants,
        partial(choose, wanted=None),
        partial(choose, wanted="Q8_0"),
    )
    for act in acts:
        assert len(refusal(partial(act, repository))) < LONGEST_MESSAGE
    companions(repository)
    shards_of(repository, "none.gguf")


@pytest.mark.parametrize("kind", LISTINGS)
def test_listings_of_hugging_face(growth: Growth, kind: str) -> None:
    def make(size: int) -> Callable[[], object]:
        hub = HuggingFace(http(body=json.dumps(LISTINGS[kind](size)).encode()), _environ())
        return lambda: look_at(hub.repository("a/b", None))

    growth.check(make)


@pytest.mark.parametrize("body", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "", "[1e999]"])
def test_what_is_no_listing_is_refused(body: str) -> None:
    content = body.encode()
    hub, scope = HuggingFace(http(body=content), _environ()), ModelScope(http(body=content), {})
    registry = _registry(http(body=content))
    acts: tuple[Callable[[], object], ...] = (
        lambda: hub.repository("a/b", None),
        lambda: hub.search("a", 10),
        lambda: scope.search("a", 10),
        lambda: registry.manifest("a/b", "latest"),
        lambda: registry.tags("a/b"),
    )

    for act in acts:
        with pytest.raises(LocalrunError):
            act()


@pytest.mark.parametrize(
    "model",
    [
        {"id": "a/gguf", "downloads": 1e999},
        {"id": "a/gguf", "downloads": "many"},
        {"id": "a/gguf", "likes": [1]},
        {"id": 1},
        {},
    ],
)
def test_hits_that_are_none_are_refused(model: Mapping[str, Any]) -> None:
    found = json.dumps({"data": {"models": [model]}}).encode()

    with pytest.raises(LocalrunError):
        ModelScope(http(body=found), {}).search("a", 10)


def test_tags_that_are_no_list_are_none() -> None:
    assert _registry(http(body=b'{"tags": 5}')).tags("a/b") == []


@pytest.mark.parametrize("name", HEADERS)
def test_headers(growth: Growth, name: str) -> None:
    for unit in HEADER_UNITS:
        for status in STATUSES:

            def make(size: int, unit: str = unit, status: int = status) -> Callable[[], object]:
                value = HEADERS[name].format(unit * (size // len(unit)))
                answering = http(status, b'{"tags": []}', **{name.replace("-", "_"): value})
                return lambda: _asked_everything(answering)

            growth.check(make)


@pytest.mark.parametrize("unit", ["digits", "letter", "json objects", "brackets", "spaces"])
def test_indexes_of_registries(growth: Growth, unit: str) -> None:
    assert unit in UNITS

    def make(size: int) -> Callable[[], object]:
        entry = {"digest": f"sha256:{'ab' * 32}", "annotations": {"a": text_of(unit, size)}}
        index = {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry, *list_of({"digest": []}, size)],
        }
        registry = _registry(http(body=json.dumps(index).encode()))
        return lambda: registry.manifest("a/b", "latest")

    growth.check(make)


def _asked_everything(answering: Http) -> None:
    registry = _registry(answering)
    remote = FileSource(url=f"https://{HOST}/file", name=HOST)
    acts: tuple[Callable[[], object], ...] = (
        lambda: registry.tags("a/b"),
        lambda: registry.manifest("a/b", "latest"),
        lambda: registry.has_blob("a/b", f"sha256:{'ab' * 32}"),
        lambda: ask(answering, remote),
        lambda: HuggingFace(answering, _environ()).repository("a/b", None),
    )
    for act in acts:
        assert len(refusal(act)) < LONGEST_MESSAGE


def _registry(answering: Http) -> OciRegistry:
    return OciRegistry(answering, HOST, environ={}, home=Path("/nowhere"))


def _environ() -> dict[str, str]:
    return {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def _file(name: str) -> dict[str, Any]:
    return {"rfilename": name, "size": 1}
