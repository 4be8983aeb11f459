"""A tool as a child that has the terminal, and a heartbeat that keeps its model loaded.

Not an exec: nobody else would renew the model's keep-alive, and a model that is unloaded while its
user reads comes back with the default context. The child is in our process group: Ctrl-C, Ctrl-Z
and the size of the terminal reach it as if the shell had started it. Signals that are sent to this
process are passed on. If this process is killed, the keep-alive runs out by itself.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from localrun.client.launch import find_server
from localrun.errors import LocalrunError, NotFoundError
from localrun.services.connecting.served import served_models

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from localrun.cli.connecting.choosing import AgentModel
    from localrun.settings import Settings

HEARTBEAT_S = 240.0  # a request of the tool sets the default keep-alive of 5 minutes
SIGNALLED = 128  # plus the number, as shells report it
PASSED_ON = ("SIGTERM", "SIGHUP")
FROM_TERMINAL = ("SIGINT", "SIGQUIT")  # the terminal sends them to the tool as well


def run_tool(
    words: Sequence[str], environ: Mapping[str, str], settings: Settings, chosen: AgentModel
) -> int:
    """Run a tool to its end; return its exit code, 128 plus the number of a signal that ended it.

    Raises:
        NotFoundError: the program cannot be started.
    """
    with _signals_for_child() as signals:
        try:
            child = subprocess.Popen(list(words), env=dict(environ))  # noqa: S603 - the tool
        except OSError as error:
            raise NotFoundError(f"{words[0]} cannot be started: {error.strerror}") from error
        signals.attach(child)
        stop = threading.Event()
        thread = threading.Thread(
            target=_keep_loaded, args=(settings, chosen, stop), name="heartbeat", daemon=True
        )
        thread.start()
        code = child.wait()
        stop.set()
    return code if code >= 0 else SIGNALLED - code


class ChildSignals:
    """The signals sent to this process, passed on to its child; early ones wait for the child."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []

    def attach(self, child: subprocess.Popen[bytes]) -> None:
        """Name the child, and pass on what came while it started."""
        self._child = child
        while self._waiting:
            self._send(child, self._waiting.pop(0))

    def pass_on(self, number: int, _frame: object) -> None:
        """Handle a signal."""
        if self._child is None:
            self._waiting.append(number)
        else:
            self._send(self._child, number)

    @staticmethod
    def _send(child: subprocess.Popen[bytes], number: int) -> None:
        with contextlib.suppress(OSError):
            child.send_signal(number)


@contextlib.contextmanager
def _signals_for_child() -> Iterator[ChildSignals]:
    """Leave the signals of the terminal to the child, and pass on those sent to this process."""
    signals = ChildSignals()
    before = _set_signals(signals.pass_on)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_signals(pass_on: Any) -> dict[int, Any]:  # noqa: ANN401 - a handler
    """Set handlers; return those before. A handler, unlike SIG_IGN, is not inherited by a child."""
    handlers = dict.fromkeys(FROM_TERMINAL, _ignore) | dict.fromkeys(PASSED_ON, pass_on)
    if sys.platform == "win32":
        handlers = {"SIGINT": _ignore}
    numbers = {getattr(signal, name): handler for name, handler in handlers.items()}
    return {number: signal.signal(number, handler) for number, handler in numbers.items()}


def _ignore(_number: int, _frame: object) -> None:
    """Leave a signal to the child."""


def _keep_loaded(settings: Settings, chosen: AgentModel, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with contextlib.suppress(LocalrunError, OSError, ValueError):
            renew(settings, chosen)


def renew(settings: Settings, chosen: AgentModel) -> bool:
    """Renew the keep-alive of a loaded model, and its context if it was loaded again without.

    Returns False if the model is not loaded: a user who unloaded it shall not get it back.
    """
    client = find_server(settings)
    if client is None:
        return False
    models = {model.name: model for model in served_models(client)}
    model = models.get(chosen.model.name)
    if model is None or model.loaded_context is None:
        return False
    for _ in client.load(chosen.load_body()):
        pass
    return True
