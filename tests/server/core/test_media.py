"""Media that prompts name by their addresses: what open requests may have fetched together."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import OverloadedError
from localrun.registry.addressed import AddressedFiles, Fetch
from localrun.runner.messages import PromptSpec
from localrun.server.core.media import AddressedMedia
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.services.stored_model import StoredModel

FILE = b"\x89PNG\r\n\x1a\n".ljust(1000)


class FakeFiles(AddressedFiles):
    """Every address has `FILE`."""

    def __init__(self) -> None:
        super().__init__(("1",))

    @contextlib.contextmanager
    def fetching(self, url: str) -> Iterator[Fetch]:  # noqa: ARG002 - as the real one
        fetch = Fetch()
        fetch.content.set_result(FILE)
        yield fetch


def seeing(name: str) -> StoredModel:
    model = FakeCatalogue().find_model(name)
    return replace(model, details=replace(model.details, capabilities=("completion", "vision")))


def prompt(num_images: int) -> PromptSpec:
    return PromptSpec(
        text="x",
        media=tuple(
            {"url": "http://a.example/", "place": "images", "expected": "image"}
            for _ in range(num_images)
        ),
    )


def test_open_requests_together_have_bounded_media() -> None:
    async def fetch() -> list[str]:
        media, ends = AddressedMedia(FakeFiles(), seeing, most_bytes=3 * len(FILE)), list[str]()
        for num_images in (2, 3):
            async with media.fetched(prompt(2), "fake"):
                with pytest.raises(OverloadedError, match="fetched media already") as caught:
                    async with media.fetched(prompt(num_images), "fake"):
                        pass
            ends.append(caught.value.message)
        async with media.fetched(prompt(3), "fake"):
            return ends

    assert len(asyncio.run(fetch())) == 2


def test_a_file_becomes_part_of_the_prompt() -> None:
    async def fetch() -> Any:
        asked = prompt(1)
        async with AddressedMedia(FakeFiles(), seeing).fetched(asked, "fake"):
            return asked.media

    assert asyncio.run(fetch()) == ({"data": FILE, "place": "images", "expected": "image"},)
