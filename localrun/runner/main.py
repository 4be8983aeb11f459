"""Main function of a runner, the child process that serves one model.

    main thread     loads, then steps the engine (worker.py)
    reader thread   reads frames, answers heartbeats
    media           threads that decode the images and sounds of requests (media/stage.py)
    preparation     threads that render chats and tokenize, one at a time (preparation.py)

The thread that loads must also step: each thread that computes has its own OpenMP workers, and
with more workers than processors OpenMP lets all of them sleep early.

The process exits when its socket closes or its parent dies. It need not survive a crash of
llama.cpp.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from localrun.allocator import use_one_arena
from localrun.engine.backends.loading import backends_of
from localrun.engine.llama.library import start
from localrun.engine.llama.memory.memory_log import MemoryTaken
from localrun.engine.llama.placement import with_devices
from localrun.errors import BackendError, LocalrunError
from localrun.hardware.choice import AUTO
from localrun.runner.channel import Channel
from localrun.runner.frames import read_messages
from localrun.runner.loading import LoadedModel
from localrun.runner.media.stage import MediaStage
from localrun.runner.messages import (
    Cancel,
    Count,
    Embed,
    Generate,
    Load,
    LoadFailed,
    Ping,
    Prepared,
    Rerank,
    WorkerLost,
)
from localrun.runner.preparation import Preparation
from localrun.sockets import peer_of
from localrun.workers.handover import receive_links
from localrun.workers.joining import NO_WORKERS, JoinedWorkers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from localrun.chat.budget import Allowance
    from localrun.runner.frames import Message
    from localrun.runner.saved_prompts import SavedPrompts

_log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.0005  # how long the engine may wait for the GIL behind a tokenizing request


def run_runner(sock: socket.socket, device: str = AUTO, saved: SavedPrompts | None = None) -> int:
    """Serve one model over the connection until it closes; return the exit code.

    ``device`` applies if the `Load` names no devices. ``saved`` is where prompts are saved, None
    disables saving.
    """
    use_one_arena()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _die_with_server(sock)
    channel = Channel(sock)
    try:
        head, links = receive_links(sock)
    except OSError:  # the server has ended
        return 0
    incoming = read_messages(sock, head)
    load = next(incoming, None)
    if not isinstance(load, Load):
        return 0
    workers = NO_WORKERS
    try:
        taken = MemoryTaken()
        backends = backends_of(load.options.devices, device)
        native_log = start(taken.read_line, backends=backends)
        if load.workers:
            workers = _join(load, links, channel, taken)
        load = replace(load, options=with_devices(load.options, device))
        loaded = LoadedModel(load, native_log, channel, taken, saved, workers)
    except LocalrunError as error:
        channel.send(LoadFailed(message=workers.named(error.message), hint=error.hint))
        workers.close()
        return error.exit_code
    gc.freeze()  # a collection that scans the loaded modules takes as long as a token
    channel.send(loaded.ready)
    _serve(loaded, incoming, channel)
    return 0


def _join(
    load: Load, links: list[socket.socket], channel: Channel, taken: MemoryTaken
) -> JoinedWorkers:
    """Connect llama.cpp to the workers of a load; the end of a link ends this process."""

    def end(worker: str, reason: str) -> None:
        channel.send(WorkerLost(worker=worker, reason=reason))
        os._exit(BackendError.exit_code)  # before llama.cpp notices, and aborts

    workers = JoinedWorkers(load.workers, links, end)
    for device in workers.devices:
        taken.name_owner(device.buffer_owner, device.name)
    return workers


def _serve(loaded: LoadedModel, incoming: Iterator[Message], channel: Channel) -> None:
    """Run the engine thread here and the reader in its own thread until the socket closes."""
    preparation = Preparation(RequestReader(loaded, channel), channel.send)
    stage = MediaStage(loaded.media, preparation.submit, channel.send)
    reader = threading.Thread(
        target=_read,
        args=(loaded, incoming, channel, stage, preparation),
        name="reader",
        daemon=True,
    )
    reader.start()
    try:
        loaded.worker.run()
    except BaseException:  # noqa: BLE001 - the server starts another runner
        _log.exception("the engine failed")
        os._exit(BackendError.exit_code)
    reader.join()
    stage.close()
    preparation.close()
    loaded.close()


def _read(
    loaded: LoadedModel,
    incoming: Iterator[Message],
    channel: Channel,
    stage: MediaStage,
    preparation: Preparation,
) -> None:
    """Dispatch messages; a failure of this thread ends the process."""
    try:
        for message in incoming:
            _dispatch(loaded, message, channel, stage, preparation)
    except BaseException:  # noqa: BLE001 - a thread that dies must take the process along
        _log.exception("requests cannot be read")
        os._exit(BackendError.exit_code)
    loaded.worker.stop()


def _dispatch(
    loaded: LoadedModel,
    message: Message,
    channel: Channel,
    stage: MediaStage,
    preparation: Preparation,
) -> None:
    if isinstance(message, Prepared):
        stage.submit(message)
    elif isinstance(message, Count):
        loaded.worker.count(message)
    elif isinstance(message, Cancel):
        if not stage.cancel(message.request_id):
            preparation.cancel(message.request_id)
    elif isinstance(message, Ping):
        channel.send(loaded.pong)


class RequestReader:
    """Prepares the requests for one loaded model and passes them to its worker."""

    def __init__(self, loaded: LoadedModel, channel: Channel) -> None:
        self._loaded = loaded
        self._channel = channel

    def take(self, request: Prepared, allowance: Allowance) -> None:
        """Answer a request, or submit it to the worker.

        Raises:
            LocalrunError: the request is refused; nothing was sent.
        """
        loaded = self._loaded
        if isinstance(request, Generate):
            opened = loaded.generation.open(request, allowance)
            self._channel.send(opened.started)
            loaded.worker.submit(opened.seq)
        elif isinstance(request, Embed | Rerank):
            loaded.worker.submit(loaded.embedding.job(request, allowance))
        else:
            self._channel.send(loaded.tokenizer.answer(request, allowance))

    def cancel(self, request_id: int) -> None:
        """Cancel a request of the worker."""
        self._loaded.worker.cancel(request_id)


def _die_with_server(sock: socket.socket) -> None:
    """Ask Linux to kill this process with the server, if that is its parent.

    A runner that the warm process has forked is killed by it; elsewhere the connection closes.
    """
    if sys.platform == "linux":
        if sock.family == socket.AF_UNIX and peer_of(sock)[0] == os.getppid():
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
