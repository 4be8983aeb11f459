"""One run of ``bench``: models in turn, on the server of the settings."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from localrun import __version__
from localrun.benchmarks.machine import doubts, machine_facts, source_commit
from localrun.benchmarks.meter import Meter
from localrun.benchmarks.prompts import RandomPrompts, all_words
from localrun.benchmarks.report import Report
from localrun.benchmarks.suite import ModelControl, run_paired, run_suite
from localrun.cli.output import Output
from localrun.cli.serving.answer import ask_server, interruptible, load_status
from localrun.client.endpoint import own_endpoint, parse_endpoint
from localrun.client.launch import FirstRequest, ensure_server
from localrun.errors import BackendError, UsageError
from localrun.hardware.probe import probe_machine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.benchmarks.comparison import PairedRow
    from localrun.benchmarks.suite import SuiteOptions
    from localrun.client.api import LocalrunClient
    from localrun.client.endpoint import Endpoint
    from localrun.services.stored_model import StoredModel
    from localrun.settings import Settings

UNLOAD_POLL_S = 0.05
UNLOAD_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class ComparedServer:
    """The other server of a comparison, and the name of the model there."""

    endpoint: Endpoint
    model: str | None

    @classmethod
    def of(cls, url: str, model: str | None, key: str | None) -> ComparedServer:
        """Return the server of a URL.

        Raises:
            UsageError: it is no URL of a server.
        """
        return cls(parse_endpoint(url, key), model)


class BenchRun:
    """Measurements at the server of the settings, which is started if none runs."""

    def __init__(self, server: Settings, options: SuiteOptions, num_ctx: int | None) -> None:
        self._server = server
        self._options = options
        self._num_ctx = num_ctx
        self._output = Output()

    def report(self, models: Sequence[StoredModel]) -> Report:
        """Return the figures of models.

        Raises:
            LocalrunError: a model does not load, or refuses a request.
        """
        head: dict[str, Any] = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "localrun": __version__,
            **_builds(),
            **machine_facts(),
        }
        rows = []
        self._warn()
        with interruptible():
            for model in models:
                try:
                    state = self._load_anew(model)
                    head |= _facts(model, state, is_only=len(models) == 1)
                    meter = self._meter(model)
                    control = self._control(model, int(state.get("context") or 0))
                    rows += run_suite(meter, control, self._options, self._show)
                finally:
                    self._output.status("")
        return Report(head=head, rows=tuple(rows))

    def paired(
        self, models: Sequence[StoredModel], server: ComparedServer
    ) -> dict[str, list[PairedRow]]:
        """Return the figures of this server and another one, by model.

        Raises:
            LocalrunError: a server does not answer, or refuses a request.
        """
        if server.model is not None and len(models) > 1:
            raise UsageError("--compare-model names one model", hint="localrun bench ONE ...")
        found = {}
        self._warn()
        with interruptible():
            for model in models:
                try:
                    state = self._load_anew(model)
                    prompts = RandomPrompts(secrets.randbits(32))
                    own = own_endpoint(self._server)
                    first = Meter(own, model.name, prompts, self._num_ctx)
                    second = Meter(server.endpoint, server.model or model.name, prompts)
                    found[model.name] = run_paired(
                        first,
                        second,
                        self._options,
                        self._show,
                        num_ctx=int(state.get("context") or 0),
                    )
                finally:
                    self._output.status("")
        return found

    def _meter(self, model: StoredModel) -> Meter:
        endpoint = own_endpoint(self._server)
        body = {"model": model.name, "prompt": all_words(), "add_special_tokens": False}
        tokens = endpoint.post("/v1/tokenize", body)["tokens"]
        prompts = RandomPrompts(secrets.randbits(32), tokens)
        return Meter(endpoint, model.name, prompts, self._num_ctx)

    def _warn(self) -> None:
        for doubt in doubts():
            self._output.note(f"these figures are uncertain: {doubt}")

    def _control(self, model: StoredModel, num_ctx: int) -> ModelControl:
        return ModelControl(
            unload=lambda: self._unload(model.name),
            load_s=lambda: _timed(lambda: self._load(model)),
            memory_bytes=lambda: int(self._state(model.name)["size_bytes"]),
            num_ctx=num_ctx,
        )

    def _load_anew(self, model: StoredModel) -> dict[str, Any]:
        """Load a model with the context of the options; return its state.

        A model that is loaded with a larger context would keep it.
        """
        if self._num_ctx is not None:
            self._unload(model.name)
        return self._load(model)

    def _load(self, model: StoredModel) -> dict[str, Any]:
        """Load a model; return its state."""
        body: dict[str, Any] = {"model": model.name}
        if self._num_ctx is not None:
            body["num_ctx"] = self._num_ctx
        first = FirstRequest(
            model=model.name, num_ctx=self._num_ctx, files=(*model.shards, *model.draft)
        )

        def load(client: LocalrunClient) -> None:
            for frame in client.load(body):
                self._output.status("" if frame["done"] else load_status(frame, model.name))

        ask_server(lambda: ensure_server(self._server, first), load)
        return self._state(model.name)

    def _unload(self, name: str) -> None:
        client = ensure_server(self._server)
        client.unload(name)
        deadline = time.monotonic() + UNLOAD_TIMEOUT_S
        while self._states(name):
            if time.monotonic() > deadline:
                raise BackendError(
                    f"{name} is still loaded: other requests use it",
                    hint="localrun ps   shows them",
                )
            time.sleep(UNLOAD_POLL_S)

    def _state(self, name: str) -> dict[str, Any]:
        states = self._states(name)
        return states[0] if states else {"size_bytes": 0}

    def _states(self, name: str) -> list[dict[str, Any]]:
        client = ensure_server(self._server)
        return [state for state in client.states() if state.get("name") == name]

    def _show(self, name: str, number: int) -> None:
        self._output.status(f"round {number} of {self._options.rounds}: {name}")


def _builds() -> dict[str, str]:
    """Return the commit of this program and the build of its engine, as far as they are known."""
    commit, engine = source_commit(), probe_machine(os.environ).engine
    builds = {"commit": commit, "engine": str(engine) if engine else None}
    return {name: build for name, build in builds.items() if build}


def _facts(model: StoredModel, state: dict[str, Any], *, is_only: bool) -> dict[str, Any]:
    """Return what a report says of a model."""
    prefix = "" if is_only else f"{model.name} "
    facts = {
        "model": model.name,
        "digest": model.digest,
        "size": model.size_bytes,
        "quantization": model.details.quantization_level,
        "context": state.get("context"),
        "device": ", ".join(state.get("memory") or {}),
    }
    return {f"{prefix}{name}": value for name, value in facts.items()}


def _timed(act: Any) -> float:  # noqa: ANN401 - any function
    begun = time.monotonic()
    act()
    return time.monotonic() - begun
