from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from localrun.errors import UsageError
from localrun.remote.errors import RemoteEngineError
from localrun.remote.model import EngineKind
from localrun.remote.tokens import count_tokens
from tests.fakes.engine import Asked, Wire, fake_engine
from tests.remote.asking import HELLO, run_with_engines, target

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.remote.engines import RemoteEngines

TOOLS = ({"type": "function", "function": {"name": "f"}},)


def counted(script: Callable[[Asked, Wire], None], kind: EngineKind) -> tuple[int, list[Asked]]:
    with fake_engine(script) as engine:
        asked = target(engine.url, key="key", engine=kind)

        async def act(engines: RemoteEngines) -> int:
            return await count_tokens(engines, asked, HELLO, TOOLS)

        return run_with_engines(act), engine.asked


@pytest.mark.parametrize(
    ("kind", "path"), [(EngineKind.LOCALRUN, "/v1/tokenize"), (EngineKind.VLLM, "/tokenize")]
)
def test_an_engine_counts_its_own_tokens(kind: EngineKind, path: str) -> None:
    count, (asked,) = counted(lambda _, wire: wire.json({"count": 9}), kind)

    assert count == 9
    assert asked.path == path
    assert asked.body == {"model": "m", "messages": list(HELLO), "tools": list(TOOLS)}
    assert asked.headers["authorization"] == "Bearer key"


def test_llama_server_renders_first() -> None:
    def script(asked: Asked, wire: Wire) -> None:
        wire.json({"prompt": "<hello>"} if "template" in asked.path else {"tokens": [1, 2, 3]})

    count, asked = counted(script, EngineKind.LLAMA_SERVER)

    assert count == 3
    assert [each.path for each in asked] == ["/apply-template", "/tokenize"]
    assert asked[1].body["content"] == "<hello>"


@pytest.mark.parametrize("kind", [EngineKind.OPENAI, EngineKind.COMPATIBLE, EngineKind.SGLANG])
def test_an_engine_that_cannot_count_is_named(kind: EngineKind) -> None:
    with pytest.raises(UsageError, match="not counted"):
        counted(lambda _, wire: wire.json({}), kind)


@pytest.mark.parametrize("answer", [{}, [], {"count": "9"}, {"count": -1}, {"count": True}])
def test_a_count_in_another_format_is_one_error(answer: Any) -> None:
    with pytest.raises(RemoteEngineError, match="another format"):
        counted(lambda _, wire: wire.json(answer), EngineKind.VLLM)
