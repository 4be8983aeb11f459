"""The core request without any API around it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localrun.chat.stream_parser import TextPart
from localrun.errors import RunnerDiedError, UsageError
from localrun.registry.addressed import AddressedFiles
from localrun.runner.messages import Generation, PromptSpec
from localrun.server.core.bridge import Bridge
from localrun.server.core.choices import stream_choices
from localrun.server.core.completions import Completions
from localrun.server.core.media import AddressedMedia
from localrun.server.core.remotes import Remotes
from localrun.server.core.request import AnswerFinished, AnswerStarted, CompletionRequest
from localrun.settings import Settings
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import start_fake
from tests.server.serving import FakeCatalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.server.core.request import Reply
    from localrun.supervisor.model import RunnerModel


@pytest.fixture
def completions() -> Iterator[Completions]:
    pool = RunnerPool(keep_alive_s=300, start=start_fake)
    remotes = Remotes(Settings(log_dir=Path("/nowhere")), {})
    find_model = FakeCatalogue().find_model
    media = AddressedMedia(AddressedFiles(()), find_model)
    yield Completions(Bridge(pool), find_model, remotes, media)
    pool.close()


def asking(text: str) -> CompletionRequest:
    return CompletionRequest(model="fake", generation=Generation(prompt=PromptSpec(text=text)))


async def replies(
    completions: Completions, request: CompletionRequest, count: int = 1
) -> list[tuple[int, Reply]]:
    return [reply async for reply in stream_choices(completions, request, count)]


def test_the_prompt_is_told_only_to_who_asks(completions: Completions) -> None:
    def opened(*, echo: bool) -> Reply:
        request = CompletionRequest(
            model="fake",
            generation=Generation(prompt=PromptSpec(text="say a"), echo=echo),
        )
        return asyncio.run(replies(completions, request))[0][1]

    assert opened(echo=True) == AnswerStarted("say a", prompt_tokens=5)
    assert opened(echo=False) == AnswerStarted(prompt_tokens=5)


def test_each_choice_is_opened_told_and_done(completions: Completions) -> None:
    request = asking("say a b")

    found = asyncio.run(replies(completions, request, 3))

    for choice in range(3):
        mine = [reply for number, reply in found if number == choice]
        assert mine[:-1] == [AnswerStarted(prompt_tokens=5), TextPart("a"), TextPart(" b")]
        assert isinstance(mine[-1], AnswerFinished)


def test_choices_fail_together_and_leave_no_task_behind(completions: Completions) -> None:
    async def ask() -> int:
        with pytest.raises(RunnerDiedError):
            await replies(completions, asking("die"), 3)
        return len(asyncio.all_tasks())

    assert asyncio.run(ask()) == 1


def test_a_client_that_leaves_takes_all_choices_along(completions: Completions) -> None:
    async def ask() -> int:
        request = asking("hang")
        events = stream_choices(completions, request, 3)
        await anext(events)
        await events.aclose()
        return len(asyncio.all_tasks())

    assert asyncio.run(ask()) == 1


def test_the_draft_model_of_a_request_and_of_a_load_reaches_the_pool() -> None:
    named: list[str | None] = []

    def with_draft(order: RunnerModel, name: str | None) -> RunnerModel:
        named.append(name)
        if name == "bad":
            raise UsageError("bad cannot draft tokens")
        return replace(order, draft_rule=name or "")

    pool = RunnerPool(keep_alive_s=300, start=start_fake)
    remotes = Remotes(Settings(log_dir=Path("/nowhere")), {})
    found = Completions(
        Bridge(pool),
        FakeCatalogue().find_model,
        remotes,
        AddressedMedia(AddressedFiles(()), FakeCatalogue().find_model),
        with_draft,
    )

    async def ask() -> None:
        await replies(found, replace(asking("say a"), draft="none"))
        await replies(found, asking("say a"))
        await found.load("fake", num_ctx=None, keep_alive=None, draft="none")
        with pytest.raises(UsageError, match="bad cannot"):
            await replies(found, replace(asking("say a"), draft="bad"))

    asyncio.run(ask())

    assert named == ["none", None, "none", "bad"]
    assert pool.load_history()["fake:latest"].num_loads == 1
    pool.close()
