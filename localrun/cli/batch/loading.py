"""Loading of a model before a batch, and how many requests are sent to it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output
from localrun.cli.serving.answer import ask_server, load_status
from localrun.client.launch import FirstRequest, ensure_server

if TYPE_CHECKING:
    from localrun.client.api import LocalrunClient
    from localrun.settings import Settings

AHEAD = 4  # requests beyond those that run in parallel, so that no sequence is idle
FALLBACK_PARALLEL = 16


def load_for_batch(
    server: Settings, model: str, num_parallel: int | None, num_ctx: int | None = None
) -> int:
    """Load a model; return ``num_parallel``, or as many requests as keep the model busy.

    Raises:
        LocalrunError: the model does not load.
    """
    output = Output()
    body: dict[str, Any] = {"model": model}
    if num_ctx is not None:
        body["num_ctx"] = num_ctx

    def load(client: LocalrunClient) -> int:
        try:
            for frame in client.load(body):
                output.status("" if frame["done"] else load_status(frame, model))
        finally:
            output.status("")
        return _num_parallel(client, model)

    first = FirstRequest(model=model, num_ctx=num_ctx)
    num_slots = ask_server(lambda: ensure_server(server, first), load)
    return num_parallel or num_slots + AHEAD


def reload_model(server: Settings, model: str, num_ctx: int | None) -> None:
    """Load a model with its context again after a server was started; in any thread.

    Raises:
        LocalrunError: the model does not load.
    """
    if num_ctx is not None:  # else its first request loads it as well
        for _ in ensure_server(server).load({"model": model, "num_ctx": num_ctx}):
            pass


def _num_parallel(client: LocalrunClient, name: str) -> int:
    found = [state.get("parallel") for state in client.states() if state.get("name") == name]
    numbers = [number for number in found if isinstance(number, int) and number > 0]
    return numbers[0] if numbers else FALLBACK_PARALLEL
