"""Test of a remote model: what each of its engines lists, and one short answer of each."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, UsageError
from localrun.remote.completion import CompletionOptions, remote_completion
from localrun.remote.keys import read_key
from localrun.remote.model import RemoteTarget
from localrun.runner.messages import Generation, PromptSpec
from localrun.services.remotes.stored import short_name

if TYPE_CHECKING:
    from localrun.remote.engines import RemoteEngines
    from localrun.remote.model import RemoteModel
    from localrun.services.workspace import Workspace

QUESTION = "Say: ok"
MOST_TOKENS = 8
LONGEST_TEST_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressTest:
    """Result of the test of one address; times in seconds, None if it did not get that far."""

    url: str
    model: str
    num_models: int | None = None  # that the engine lists
    is_listed: bool | None = None  # whether the model is among them
    listed_s: float | None = None
    first_s: float | None = None  # until the first part of an answer
    problem: str | None = None
    hint: str | None = None

    @property
    def is_good(self) -> bool:
        """Return whether the engine answered."""
        return self.problem is None


def find_remote(workspace: Workspace, name: str) -> tuple[str, RemoteModel]:
    """Return the full name of a remote model, and the model.

    Raises:
        ModelNotFoundError: it does not exist.
        UsageError: it has weights here.
    """
    model = workspace.models.find_model(name)
    if model.remote is None:
        raise UsageError(
            f"{model.name} is no remote model: its weights are on this machine",
            hint="localrun remote list   shows the remote models",
        )
    return model.name, model.remote


def check_remote(workspace: Workspace, name: str) -> list[AddressTest]:
    """Ask all engines of a remote model at once; blocks for `LONGEST_TEST_S` at most.

    Raises:
        ModelNotFoundError: it does not exist.
        UsageError: it has weights here, or its key cannot be read.
    """
    full_name, model = find_remote(workspace, name)
    key = read_key(model, workspace.environ)
    target = RemoteTarget(name=short_name(full_name), model=model, key=key)
    return asyncio.run(_test_all(workspace, target))


async def _test_all(workspace: Workspace, target: RemoteTarget) -> list[AddressTest]:
    from localrun.remote.engines import RemoteEngines
    from localrun.remote.http import EngineHttp

    http = EngineHttp(
        workspace.environ, is_offline=workspace.settings.is_offline, silence_s=LONGEST_TEST_S
    )
    engines = RemoteEngines(http)
    single = [replace(target.model, addresses=(each,)) for each in target.model.addresses]
    try:
        return await asyncio.gather(
            *(_tested(engines, replace(target, model=model)) for model in single)
        )
    finally:
        await engines.close()


async def _tested(engines: RemoteEngines, target: RemoteTarget) -> AddressTest:
    from localrun.remote.discovery import AddressReport, offered_models

    address, begun_s = target.model.first, time.monotonic()
    result = AddressTest(url=address.url, model=address.model)
    try:
        answer = await engines.models_of(target.name, address, target.key)
        models = offered_models(answer, target.name, address)
        report = AddressReport(address=address, seconds=time.monotonic() - begun_s, models=models)
        result = replace(
            result,
            num_models=len(models),
            is_listed=report.offered is not None,
            listed_s=report.seconds,
        )
        async with asyncio.timeout(LONGEST_TEST_S):
            return replace(result, first_s=await _first_s(engines, target))
    except LocalrunError as error:
        return replace(result, problem=error.message, hint=error.hint)
    except TimeoutError:
        return replace(result, problem=f"did not answer in {LONGEST_TEST_S:g} s")


async def _first_s(engines: RemoteEngines, target: RemoteTarget) -> float:
    """Return the seconds until the first part of a short answer, or until a vector."""
    begun_s = time.monotonic()
    if "embedding" in target.model.capabilities:
        from localrun.remote.vectors import embed

        await embed(engines, target, [QUESTION], dimensions=None, truncate=False)
        return time.monotonic() - begun_s
    if "rerank" in target.model.capabilities:
        from localrun.remote.vectors import rank

        await rank(engines, target, QUESTION, [QUESTION], truncate=False, raw_scores=False)
        return time.monotonic() - begun_s
    prompt = PromptSpec(messages=({"role": "user", "content": QUESTION},))
    options = CompletionOptions(sampling={}, num_predict=MOST_TOKENS)
    call = remote_completion(target, Generation(prompt=prompt), options)
    async with contextlib.aclosing(engines.stream(call)) as events:
        await anext(events)
        first_s = time.monotonic() - begun_s
        async for _ in events:
            pass
    return first_s
