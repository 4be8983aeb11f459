"""A runner: the child process that holds one model.

    main thread     loads, then steps the engine (worker.py)
    reader thread   reads frames, renders chats, tokenizes

The thread that loads must be the one that steps: each thread that computes has workers
of its own, and with more workers than processors OpenMP lets all of them sleep early.

It lives as long as its socket: when that closes, or the parent dies, it leaves at
once. Nothing here survives a crash of llama.cpp, and nothing has to.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.constraints import Grammars
from localrun.engine.context import Context
from localrun.engine.embedder import Embedder
from localrun.engine.engine import Engine
from localrun.engine.library import start
from localrun.engine.model import load_model
from localrun.engine.placement import chosen
from localrun.engine.pooler import Pooler
from localrun.engine.radix import common_length
from localrun.engine.scheduler import STEP_TOKENS, Limits, Scheduler
from localrun.engine.scores import Scores
from localrun.engine.sequence import Sequence
from localrun.engine.shift import CONTEXTS, Shift
from localrun.engine.split import LayerSplit
from localrun.engine.taken import HOST, MemoryTaken
from localrun.engine.text import TextStream
from localrun.engine.threads import useful_threads
from localrun.errors import BackendError, ContextExceededError, LocalrunError, UsageError
from localrun.hardware.choice import AUTO
from localrun.runner.adapters import AdapterDesk
from localrun.runner.busyness import Busyness, read_stats
from localrun.runner.embedding import EmbeddingDesk
from localrun.runner.fitting import Prompt, fitted, num_kept
from localrun.runner.frames import encode, read_messages
from localrun.runner.guessing import Guessing, most_drafts
from localrun.runner.messages import (
    Cancel,
    Detokenize,
    Embed,
    Event,
    Failed,
    Generate,
    Load,
    LoadFailed,
    Progress,
    Ready,
    Rerank,
    Started,
    Tokenize,
)
from localrun.runner.prompt import MARK, tokenize
from localrun.runner.saved import keeper_of
from localrun.runner.templates import Templates, Texts
from localrun.runner.tools import TextTools
from localrun.runner.worker import NoEngine, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.engine.library import NativeLog
    from localrun.engine.params import ConstraintSpec
    from localrun.runner.fitting import Messages
    from localrun.runner.frames import Message
    from localrun.runner.saved import SavedPrompts
    from localrun.runner.templates import Chat

_log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
SWITCH_INTERVAL_S = 0.0005  # how long the engine may wait for the GIL behind a tokenizing request
UNPLANNED_NUM_CTX = 8192  # where the server could not make a plan
MOST_STEP_TOKENS = 8192
PROGRESS_STEP = 0.05
PROMPT_TAIL = 64


def run_runner(fd: int, device: str = AUTO, saved: SavedPrompts | None = None) -> int:
    """Serve one model over the inherited socket ``fd`` until it closes; return the exit code.

    ``device`` is the choice where the order to load names no devices; ``saved`` tells where
    computed prompts outlive the process, None: nowhere.
    """
    _die_with_parent()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    sock = socket.socket(fileno=fd)
    channel = _Channel(sock)
    incoming = read_messages(sock)
    load = next(incoming, None)
    if not isinstance(load, Load):
        return 0
    try:
        taken = MemoryTaken()
        native_log = start(taken.hear)
        load = replace(load, options=chosen(load.options, device))
        loaded = _Loaded(load, native_log, channel, taken, saved)
    except LocalrunError as error:
        channel.send(LoadFailed(message=error.message, hint=error.hint))
        return error.exit_code
    loaded.serve(incoming)
    return 0


class _Channel:
    """The sending side of the socket, for both threads."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Send one frame; a parent that is gone is no error, the reader notices it."""
        try:
            with self._lock:
                self._sock.sendall(encode(event))
        except OSError:
            _log.debug("the parent does not listen any more")


class _Loaded:
    """A model that is ready: what one request after another needs."""

    def __init__(
        self,
        load: Load,
        native_log: NativeLog,
        channel: _Channel,
        taken: MemoryTaken,
        saved: SavedPrompts | None,
    ) -> None:
        begun = time.monotonic()
        self._channel = channel
        self._native_log = native_log
        self._taken = taken
        self._model = load_model(
            [Path(path) for path in load.model_paths],
            native_log=native_log,
            num_gpu_layers=load.num_gpu_layers,
            options=load.options,
            split=LayerSplit(load.tensor_split, load.num_host_experts),
            on_progress=_throttled(channel),
        )
        self._templates = Templates(
            Texts(
                own_template=self._model.chat_template,
                bos=self._model.bos,
                eos=self._model.eos,
                control_texts=self._model.control_texts,
            )
        )
        self._templates.chat(load.chat_template)
        self._adapters = AdapterDesk([Path(path) for path in load.model_paths])
        self._num_ctx = min(load.num_ctx or UNPLANNED_NUM_CTX, self._model.trained_context)
        limits = Limits(
            num_slots=load.num_parallel,
            num_cells=max(self._num_ctx, load.num_cells),
            step_tokens=_step_tokens(load),
            num_drafts=most_drafts(self._model),
        )
        threads = load.num_threads or useful_threads(self._model.size_bytes)
        adapters = [(self._model.load_adapter(Path(path)), scale) for path, scale in load.adapters]
        self._guessing = Guessing(load, self._model, limits, native_log)
        engine: Engine | NoEngine
        self._context: Context | NoEngine
        keeper = busyness = None
        if self._model.only_embeds:
            engine = self._context = NoEngine()
        else:
            context = self._context = Context(
                self._model, limits, num_threads=threads, options=load.options
            )
            cache = context.open_cache()
            scheduler = Scheduler(limits, cache)
            busyness = Busyness(
                partial(read_stats, scheduler, cache, limits.num_cells), channel.send
            )
            pieces, eog = self._model.pieces, self._model.eog
            guesses = self._guessing.speculation
            engine = Engine(context, scheduler, pieces=pieces, eog=eog, speculation=guesses)
            folder = saved.open(load, limits, self._model) if saved else None
            keeper = keeper_of(folder, cache, context, self._model) if folder else None
        self._grammars = Grammars(self._model)
        self._desk = EmbeddingDesk(self._model, num_ctx=self._num_ctx)
        self._embedder = Embedder(
            partial(
                Pooler,
                self._model,
                longest=self._num_ctx,
                num_threads=threads,
                options=load.options,
                adapters=adapters,
            )
        )
        self._worker = Worker(engine, self._context, channel.send, self._embedder)
        if busyness is not None:
            self._worker.tell_busyness(busyness)
        if keeper is not None:
            self._worker.keep_prompts(keeper)
        channel.send(self._ready(load.num_parallel, time.monotonic() - begun))

    def serve(self, incoming: Iterator[Message]) -> None:
        """Obey frames until the socket closes."""
        reader = threading.Thread(target=self._read, args=(incoming,), name="reader", daemon=True)
        reader.start()
        try:
            self._worker.run()
        except BaseException:  # noqa: BLE001 - its parent starts another runner
            _log.exception("the engine failed")
            os._exit(BackendError.exit_code)
        reader.join()
        self._worker.close()
        self._guessing.close()
        self._embedder.close()
        self._context.close()
        self._model.close()

    def _read(self, incoming: Iterator[Message]) -> None:
        """Pass requests on; when this thread breaks, so does the process."""
        tools = TextTools(self._model, self._templates, self._num_ctx)
        try:
            for message in incoming:
                if isinstance(message, Generate):
                    self._submit(message)
                elif isinstance(message, Cancel):
                    self._worker.cancel(message.request_id)
                elif isinstance(message, Embed | Rerank):
                    self._submit_embedding(message)
                elif isinstance(message, Tokenize | Detokenize):
                    self._channel.send(tools.answer(message))
        except BaseException:  # noqa: BLE001 - a thread that dies must take the process along
            _log.exception("requests cannot be read")
            os._exit(BackendError.exit_code)
        self._worker.stop()

    def _submit(self, request: Generate) -> None:
        try:
            chat = self._templates.chat(request.chat_template)
            prompt = self._prompt(request)
            seq = self._sequence(request, prompt.tokens)
            if request.constraint is not None:
                spec = _settled(request.constraint, request, chat)
                seq.constraint = self._grammars.constrain(spec, prompt.text)
        except LocalrunError as error:
            self._channel.send(
                Failed(
                    request_id=request.request_id,
                    code=error.code,
                    message=error.message,
                    hint=error.hint,
                    param=error.param if isinstance(error, UsageError) else None,
                )
            )
            return
        self._channel.send(
            Started(
                request_id=request.request_id,
                prompt_tokens=seq.num_prompt,
                prompt_tail=prompt.text[-PROMPT_TAIL:],
                profile=chat.profile,
                prompt=prompt.text.replace(MARK, "") if request.echo else None,
                dropped_messages=prompt.dropped_messages,
                dropped_tokens=prompt.dropped_tokens,
            )
        )
        self._worker.submit(seq)

    def _submit_embedding(self, request: Embed | Rerank) -> None:
        job = self._desk.job(request)
        if isinstance(job, Failed):
            self._channel.send(job)
        else:
            self._worker.submit(job)

    def _prompt(self, request: Generate) -> Prompt:
        """Return the prompt, without the oldest messages where it is too long and they may go."""
        if self._model.only_embeds:
            raise UsageError("this is an embedding model: it turns text into numbers")
        if request.messages is None:
            text = request.prompt or ""
            return Prompt(text, tokenize(text, self._model))
        if not request.overflow.drops:
            return self._written(request, request.messages)
        return fitted(
            request.messages,
            partial(self._written, request),
            num_ctx=self._num_ctx,
            num_predict=request.num_predict,
        )

    def _written(self, request: Generate, messages: Messages) -> Prompt:
        text = self._templates.render(replace(request, messages=tuple(messages)))
        return Prompt(text, tokenize(text, self._model))

    def _sequence(self, request: Generate, tokens: list[int]) -> Sequence:
        if not tokens:
            raise UsageError("the prompt is empty")
        if len(tokens) >= self._num_ctx:
            raise ContextExceededError(
                f"the prompt has {len(tokens)} tokens, the context {self._num_ctx}",
                hint="shorten the prompt, ask for a larger context (--ctx), or let the oldest"
                " messages go (PARAMETER overflow drop)",
            )
        shift = self._shift(request, tokens)
        room = (CONTEXTS if shift else 1) * self._num_ctx - len(tokens)
        new = room if request.num_predict is None else max(1, request.num_predict)
        sampling = request.sampling
        if sampling.ignore_eos and request.constraint is None:
            sampling = sampling.without_ends(self._model.eog)
        return Sequence(
            request_id=request.request_id,
            tokens=tokens,
            max_tokens=len(tokens) + (new if shift else min(new, room)),
            sampling=sampling,
            text=TextStream(request.stop),
            scores=None if request.logprobs is None else Scores(request.logprobs),
            shift=shift,
            adapters=self._adapters.checked(request.adapters),
        )

    def _shift(self, request: Generate, tokens: list[int]) -> Shift | None:
        policy, num_keep = request.overflow, request.overflow.num_keep
        if not policy.shifts:
            return None
        if num_keep is not None:
            num_keep = len(tokens) if num_keep < 0 else num_keep
        elif request.messages is None:
            num_keep = common_length(tokens, self._model.tokenize(""))
        else:
            num_keep = num_kept(request.messages, tokens, partial(self._written, request))
        return Shift.keeping(num_keep, self._num_ctx)

    def _ready(self, num_parallel: int, load_s: float) -> Ready:
        memory = self._taken.by_device()
        size, devices = sum(memory.values()), self._model.devices
        return Ready(
            num_ctx=self._num_ctx,
            num_parallel=num_parallel,
            device=devices[0].description if devices else "CPU",
            size_bytes=size,
            size_gpu_bytes=size - memory.get(HOST, 0),
            load_s=load_s,
            memory=tuple(memory.items()),
        )


def _settled(spec: ConstraintSpec, request: Generate, chat: Chat) -> ConstraintSpec:
    """Return the constraint without its thought where the model will not think."""
    is_open = "enable_thinking" not in request.template_options
    if spec.after is not None and is_open and not chat.may_think_unasked:
        return replace(spec, opening=None, after=None)
    return spec


def _step_tokens(load: Load) -> int:
    """Return how many tokens a step may have: one for each sequence at least."""
    wanted = load.options.num_batch or STEP_TOKENS
    return max(load.num_parallel, min(wanted, MOST_STEP_TOKENS))


def _throttled(channel: _Channel) -> Callable[[float], None]:
    """Return a callback that sends progress in steps of `PROGRESS_STEP`."""
    sent = 0.0

    def report(fraction: float) -> None:
        nonlocal sent
        if fraction - sent >= PROGRESS_STEP:
            sent = fraction
            channel.send(Progress(fraction=fraction))

    return report


def _die_with_parent() -> None:
    """Ask Linux to kill us with the server; elsewhere the end of the socket does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
