"""Load one model, and set up all that serves it."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.chat.budget import Allowance
from localrun.engine.cache.exchange import exchange_of
from localrun.engine.context import LlamaContext
from localrun.engine.embedder import Embedder
from localrun.engine.engine import Engine
from localrun.engine.llama.layer_split import TensorSplit
from localrun.engine.llama.memory_log import HOST
from localrun.engine.llama.model import load_model
from localrun.engine.pooler import Pooler
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.threads import ThreadGauge, useful_threads
from localrun.errors import UsageError
from localrun.runner.adapters import AdapterResolver
from localrun.runner.census import Census
from localrun.runner.channel import throttled
from localrun.runner.embedding import EmbeddingPreparer
from localrun.runner.generation import GenerationPreparer
from localrun.runner.messages import Pong, Ready
from localrun.runner.prompts.templates import Templates, TemplateTexts
from localrun.runner.saved_prompts import keeper_of
from localrun.runner.speculation_setup import SpeculationSetup, most_drafts
from localrun.runner.stats import StatsReporter, read_stats
from localrun.runner.text_tokenizer import TextTokenizer
from localrun.runner.worker import NullEngine, Worker

if TYPE_CHECKING:
    from localrun.engine.llama.library import NativeLog
    from localrun.engine.llama.memory_log import MemoryTaken
    from localrun.runner.channel import Channel
    from localrun.runner.messages import Load
    from localrun.runner.saved_prompts import SavedPrompts

UNPLANNED_NUM_CTX = 8192  # where the server could not make a plan


class LoadedModel:
    """A model that is ready: the worker that steps it, and the desks that take requests.

    Raises:
        LoadError: llama.cpp does not take the model, or has no memory for it.
    """

    def __init__(
        self,
        load: Load,
        native_log: NativeLog,
        channel: Channel,
        taken: MemoryTaken,
        saved: SavedPrompts | None,
    ) -> None:
        self._load = load
        self._native_log = native_log
        self._taken = taken
        self._begun = time.monotonic()
        self._model = load_model(
            [Path(path) for path in load.model_paths],
            native_log=native_log,
            num_gpu_layers=load.num_gpu_layers,
            options=load.options,
            split=TensorSplit(load.tensor_split, load.num_host_experts),
            on_progress=throttled(channel),
        )
        self._num_ctx = _context(load, self._model.trained_context)
        self._limits = SchedulerLimits(
            num_slots=load.num_parallel,
            num_cells=max(self._num_ctx, load.num_cells),
            step_tokens=max(load.num_parallel, load.options.step_tokens),
            num_drafts=most_drafts(self._model),
            attic_bytes=load.attic_bytes,
        )
        self._num_threads = useful_threads(self._model.size_bytes, load.num_threads)
        self._gauge = None if load.num_threads else ThreadGauge(self._num_threads)
        self._guessing = SpeculationSetup(load, self._model, self._limits, native_log, self._gauge)
        self._embedder = self._open_embedder()
        self._context: LlamaContext | NullEngine = NullEngine()
        if self._model.only_embeds:
            self.worker = Worker(NullEngine(), self._context, channel.send, self._embedder)
        else:
            self.worker = self._open_engine(channel, saved)
        templates = self._open_templates()
        adapters = AdapterResolver([Path(path) for path in load.model_paths])
        self.generation = GenerationPreparer(self._model, templates, adapters, self._num_ctx)
        self.embedding = EmbeddingPreparer(self._model, num_ctx=self._num_ctx)
        self.tools = TextTokenizer(self._model, templates, self._num_ctx)

    @property
    def ready(self) -> Ready:
        """Return what is told of the model when it is loaded."""
        memory = self._taken.by_device()
        size, devices = sum(memory.values()), self._model.devices
        return Ready(
            num_ctx=self._num_ctx,
            num_parallel=self._load.num_parallel,
            device=devices[0].description if devices else "CPU",
            size_bytes=size,
            size_gpu_bytes=size - memory.get(HOST, 0),
            load_s=time.monotonic() - self._begun,
            memory=tuple(memory.items()),
            num_threads=self._num_threads,
            speculates=self._guessing.speculation is not None,
        )

    @property
    def pulse(self) -> Pong:
        """Return how the worker does; safe from any thread."""
        return Pong(
            num_steps=self.worker.num_steps,
            cpu_s=time.process_time(),
            is_working=self.worker.has_work,
            num_tokens=self.worker.num_tokens,
        )

    def close(self) -> None:
        """Free everything; the worker must have ended."""
        self.worker.close()
        self._guessing.close()
        self._embedder.close()
        self._context.close()
        self._model.close()

    def _open_engine(self, channel: Channel, saved: SavedPrompts | None) -> Worker:
        context = self._context = LlamaContext(
            self._model,
            self._limits,
            num_threads=self._num_threads,
            options=self._load.options,
            gauge=self._gauge,
        )
        cache = context.open_cache()
        scheduler = Scheduler(self._limits, cache)
        engine = Engine(
            context,
            scheduler,
            pieces=self._model.pieces,
            eog=self._model.eog,
            speculation=self._guessing.speculation,
        )
        worker = Worker(engine, context, channel.send, self._embedder)
        worker.count_with(Census(cache, context).take)
        worker.tidy_with(exchange_of(cache, context).tidy)
        read = partial(read_stats, scheduler, cache, self._limits.num_cells)
        worker.tell_busyness(StatsReporter(read, channel.send))
        folder = saved.open(self._load, self._limits, self._model) if saved else None
        if folder is not None:
            worker.keep_prompts(keeper_of(folder, cache, context, self._model))
        return worker

    def _open_embedder(self) -> Embedder:
        adapters = [
            (self._model.load_adapter(Path(path)), scale) for path, scale in self._load.adapters
        ]
        return Embedder(
            partial(
                Pooler,
                self._model,
                longest=self._num_ctx,
                num_threads=self._num_threads,
                options=self._load.options,
                adapters=adapters,
                gauge=self._gauge,
            )
        )

    def _open_templates(self) -> Templates:
        templates = Templates(
            TemplateTexts(
                own_template=self._model.chat_template,
                bos=self._model.bos,
                eos=self._model.eos,
                control_texts=self._model.control_texts,
            )
        )
        with suppress(UsageError):  # the request that brings it is told so, not all that wait
            templates.chat(self._load.chat_template, Allowance())
        return templates


def _context(load: Load, trained: int) -> int:
    """Return the context: beyond the training's only where that is stretched."""
    if load.num_ctx and load.options.stretching:
        return load.num_ctx  # bounded by the plan
    return min(load.num_ctx or UNPLANNED_NUM_CTX, trained)
