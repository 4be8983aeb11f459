"""Loading of one model: opens weights, context, engine, draft model and embedder.

Runs on the main thread, which becomes the engine thread. Everything is composed here before
the `Worker` is constructed; nothing is added to it later.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.chat.budget import Allowance
from localrun.engine.backends.cpu import loaded_variant
from localrun.engine.context import LlamaContext
from localrun.engine.context_params import part_tokens
from localrun.engine.embedder import Embedder
from localrun.engine.engine import Engine
from localrun.engine.llama.memory.memory_log import HOST
from localrun.engine.llama.model import load_model
from localrun.engine.llama.placement import TensorSplit
from localrun.engine.media.encoder import MediaEncoder
from localrun.engine.media.library import MediaLibrary
from localrun.engine.params import FAST_STEP_TOKENS
from localrun.engine.pooler import Pooler
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.engine.threads import ThreadGauge, useful_threads
from localrun.errors import LoadError, UsageError
from localrun.runner.adapters import AdapterResolver
from localrun.runner.channel import throttled
from localrun.runner.embedding import EmbeddingPreparer
from localrun.runner.generation import GenerationPreparer
from localrun.runner.media.reading import MediaReader
from localrun.runner.media.stable_ids import StableIds
from localrun.runner.messages import Pong, ProjectorUse, Ready
from localrun.runner.null_engine import NullEngine
from localrun.runner.prompt_restorer import NullPromptRestorer, PromptRestorer
from localrun.runner.prompt_saver import NullPromptSaver, PromptSaver
from localrun.runner.prompts.control_tokens import prepare_guard
from localrun.runner.prompts.templates import Templates, analyze
from localrun.runner.saved_prompts import file_identities
from localrun.runner.speculation_setup import SpeculationSetup, max_drafts, num_rollback
from localrun.runner.stats import EngineCounters
from localrun.runner.text_tokenizer import TextTokenizer
from localrun.runner.worker import CommandQueue, EngineParts, Worker
from localrun.workers.joining import NO_WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.engine.llama.library import NativeLog
    from localrun.engine.llama.memory.memory_log import MemoryTaken
    from localrun.engine.llama.model import Model
    from localrun.engine.media.projector import LoadedProjector
    from localrun.engine.media.text_rows import TextRows
    from localrun.runner.channel import Channel
    from localrun.runner.messages import Load
    from localrun.runner.prompts.templates import AnalyzedTemplate
    from localrun.runner.saved_prompts import SavedPrompts
    from localrun.workers.joining import JoinedWorkers

DEFAULT_NUM_CTX = 8192  # if the server made no plan


class LoadedModel:
    """A loaded model: the worker that steps it, and the preparers of its requests.

    Threads: the constructor and `close` run on the engine thread, `pong` on any.

    Raises:
        LoadError: llama.cpp refuses the model, or has no memory for it.
    """

    def __init__(
        self,
        load: Load,
        native_log: NativeLog,
        channel: Channel,
        taken: MemoryTaken,
        saved: SavedPrompts | None,
        workers: JoinedWorkers = NO_WORKERS,
    ) -> None:
        self._load = load
        self._workers = workers
        self._report_use = _use_reporter(channel)
        self._taken = taken
        self._started_at = time.monotonic()
        self._beside = WorkBeside(load)
        self._model = load_model(
            [Path(path) for path in load.model_paths],
            native_log=native_log,
            num_gpu_layers=load.num_gpu_layers,
            options=replace(load.options, devices=workers.native_names(load.options.devices)),
            split=TensorSplit(
                load.tensor_split, load.num_host_experts, keeps_output=load.keeps_output
            ),
            names_of_workers=workers.planned_names(),
            has_mtp=load.has_mtp,
            on_progress=throttled(channel),
        )
        self._beside.prepare_prompts(self._model)
        self._num_ctx = _num_ctx(load, self._model.trained_context)
        self._limits = SchedulerLimits(
            num_slots=load.num_parallel,
            num_cells=max(self._num_ctx, load.num_cells),
            step_tokens=max(load.num_parallel, load.options.step_tokens),
            num_drafts=max_drafts(self._model, load),
            num_rollback=num_rollback(self._model, load),
            stream_cells=self._num_ctx,
            host_cache_bytes=load.host_cache_bytes,
        )
        self._num_threads = useful_threads(self._model.size_bytes, load.num_threads)
        self._gauge = None if load.num_threads else ThreadGauge(self._num_threads)
        self._drafting = SpeculationSetup(load, self._model, self._limits, native_log, self._gauge)
        self._library = MediaLibrary(load.media_cache_bytes)
        self._projector = self._open_projector(native_log)
        self._text_rows = self._open_text_rows()
        commands = CommandQueue()
        self._parts = (
            self._embedding_parts()
            if self._model.only_embeds
            else (self._generation_parts(commands, saved))
        )
        self.worker = Worker(self._parts, commands, channel.send)
        templates = self._open_templates()
        self._beside.close()
        adapters = AdapterResolver([Path(path) for path in load.model_paths])
        self.generation = GenerationPreparer(
            self._model,
            templates,
            adapters,
            self._num_ctx,
            1 / load.reading_speed,
            joins_tiles=self._text_rows is not None,
        )
        self.embedding = EmbeddingPreparer(self._model, num_ctx=self._num_ctx)
        self.tokenizer = TextTokenizer(self._model, templates, self._num_ctx)
        self.media = MediaReader(self._projector, self._library, _refusal(load), ffmpeg=load.ffmpeg)

    @property
    def ready(self) -> Ready:
        """Return the event that reports the loaded model."""
        memory = self._taken.by_device()
        size, devices = sum(memory.values()), self._model.devices
        return Ready(
            num_ctx=self._num_ctx,
            num_parallel=self._load.num_parallel,
            device=devices[0].description if devices else "CPU",
            size_bytes=size,
            size_gpu_bytes=size - memory.get(HOST, 0),
            load_s=time.monotonic() - self._started_at,
            memory=tuple(memory.items()),
            num_threads=self._num_threads,
            draft_sources=self._drafting.source_names,
            cpu_variant=loaded_variant() or "",
        )

    @property
    def pong(self) -> Pong:
        """Return the heartbeat: progress of the worker so far."""
        return Pong(
            num_steps=self.worker.num_steps,
            cpu_s=time.process_time() + self._workers.cpu_s,
            is_working=self.worker.has_work,
            num_tokens=self.worker.num_tokens,
        )

    def close(self) -> None:
        """Free all memory; the worker's `run` must have returned."""
        self.worker.close()
        self._drafting.close()
        self._parts.embedder.close()
        self._parts.context.close()
        if self._projector is not None:
            self._projector.close()
        self._model.close()
        self._workers.close()

    def _embedding_parts(self) -> EngineParts:
        null = NullEngine()
        return EngineParts(
            engine=null,
            context=null,
            counters=EngineCounters(null, null, null),
            saver=NullPromptSaver(),
            restorer=NullPromptRestorer(),
            embedder=self._open_embedder(),
        )

    def _generation_parts(self, commands: CommandQueue, saved: SavedPrompts | None) -> EngineParts:
        embedder = self._open_embedder()
        limits = self._context_limits()
        context = LlamaContext(
            self._model,
            limits,
            num_threads=self._num_threads,
            options=self._load.options,
            gauge=self._gauge,
            skipped=self._library.skipped,
            text_rows=self._text_rows,
            mtp=self._drafting.mtp,
        )
        cache = context.open_cache()
        scheduler = Scheduler(limits, cache)
        engine = Engine(
            context,
            scheduler,
            pieces=self._model.pieces,
            eog=self._model.eog,
            speculation=self._drafting.speculation,
        )
        parts = EngineParts(
            engine=engine,
            context=context,
            counters=EngineCounters(scheduler, cache, context),
            saver=NullPromptSaver(cache.compact),
            restorer=NullPromptRestorer(),
            embedder=embedder,
            encoder=self._encoder(),
        )
        if saved is None:
            return parts
        folder = saved.open(self._load, self._beside.files, self._limits, self._model)
        if folder is None:
            return parts
        ids = StableIds(self._library, folder.fingerprint)
        restorer = PromptRestorer(cache, folder, ids, commands.put)
        saver = PromptSaver(cache, folder, restorer, ids, num_vocab=self._model.num_vocab)
        return replace(parts, saver=saver, restorer=restorer)

    def _context_limits(self) -> SchedulerLimits:
        """Return the limits of steps: whether prompts and streams share calls, and their parts.

        A GPU has no tiles, and each call costs it a beginning; but if a shared call is aborted, a
        model with a state computes its streams again. Steps have parts, and many tokens where they
        are computed in a second, unless something needs whole ones: media that are not causal, and
        MTP layers, which read hidden states by step.
        """
        mixes_tiles = bool(self._model.devices) and not self._model.memory.has_state
        limits = replace(self._limits, mixes_tiles=mixes_tiles)
        is_causal = self._projector is None or self._projector.is_causal
        if not is_causal or self._drafting.mtp is not None:
            return limits
        num_tokens = limits.step_tokens
        limits = replace(limits, part_tokens=part_tokens(self._model, num_tokens))
        if self._load.options.num_batch is not None:
            return limits
        most = max(num_tokens, FAST_STEP_TOKENS)
        return replace(limits, step_tokens=most, call_tokens=num_tokens)

    def _open_projector(self, native_log: NativeLog) -> LoadedProjector | None:
        """Load the projector of a model that generates, or return None without one."""
        path = self._load.projector_path
        if path is None or self._model.only_embeds:
            return None
        from localrun.engine.media.projector import LoadedProjector  # loads libmtmd

        self._report_use(True)  # noqa: FBT003 - its only argument
        projector = LoadedProjector(
            Path(path),
            self._model,
            native_log,
            num_threads=self._num_threads,
            step_tokens=self._limits.step_tokens,
        )
        self._report_use(False)  # noqa: FBT003
        cards = self._model.cards
        self._taken.add_weights(cards[0].name if cards else HOST, projector.size_bytes)
        return projector

    def _open_text_rows(self) -> TextRows | None:
        """Return the rows of text between the tiles of images, if the model allows such batches."""
        if self._projector is None or not self._projector.sees or self._projector.has_mrope:
            return None
        from localrun.engine.media.text_rows import open_text_rows  # with the projector only

        return open_text_rows(self._model, Path(self._load.model_paths[0]), self._projector.width)

    def _encoder(self) -> MediaEncoder | None:
        if self._projector is None:
            return None
        return MediaEncoder(self._projector, self._library, self._report_use, self._gauge)

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
        templates = Templates(self._model)
        with suppress(UsageError):  # reported by the request that names the template
            if self._beside.template is not None:
                templates.add(self._beside.template.result())
            else:
                templates.chat(None, Allowance())
        return templates


class WorkBeside:
    """Work of a load that is done in a thread of its own while llama.cpp reads the weights.

    llama.cpp releases the GIL, and reads with one thread.
    """

    def __init__(self, load: Load) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="beside-load")
        source = load.chat_template
        self.template = self._executor.submit(_analyzed, source) if source else None
        self.files = self._executor.submit(file_identities, load)

    def prepare_prompts(self, model: Model) -> None:
        """Read the special tokens of a loaded model, which its first prompt would wait for."""
        self._executor.submit(lambda: prepare_guard(model.control_texts))

    def close(self) -> None:
        """End the thread when its work is done; does not block."""
        self._executor.shutdown(wait=False)


def _use_reporter(channel: Channel) -> Callable[[bool], None]:
    return lambda is_begun: channel.send(ProjectorUse(is_begun))


def _refusal(load: Load) -> LoadError | None:
    """Return the error of requests with media if the model's projector is not used."""
    problem, hint = load.projector_problem, load.projector_hint
    return LoadError(problem, hint=hint) if problem else None


def _analyzed(source: str) -> AnalyzedTemplate:
    return analyze(source, Allowance())  # which counts the time of the thread that creates it


def _num_ctx(load: Load, trained: int) -> int:
    """Return the context window; it exceeds the trained one only with RoPE scaling."""
    if load.num_ctx and load.options.stretching:
        return load.num_ctx  # the plan bounds it
    return min(load.num_ctx or DEFAULT_NUM_CTX, trained)
