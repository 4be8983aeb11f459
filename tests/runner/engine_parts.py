"""Parts of an engine thread for tests: what a runner composes, without saved prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.engine.embedder import Embedder
from localrun.engine.engine import Engine
from localrun.engine.scheduler import Scheduler, SchedulerLimits
from localrun.errors import LoadError
from localrun.runner.null_engine import NullEngine
from localrun.runner.prompt_restorer import NullPromptRestorer
from localrun.runner.prompt_saver import NullPromptSaver
from localrun.runner.stats import EngineCounters
from localrun.runner.worker import EngineParts

if TYPE_CHECKING:
    from localrun.engine.cache.kv_cache import KvCache
    from localrun.engine.context import LlamaContext
    from localrun.engine.embedder import PoolingBackend
    from localrun.engine.llama.model import Model
    from localrun.engine.params import Pooling


def no_pooler(pooling: Pooling) -> PoolingBackend:
    raise LoadError(f"no pooler for {pooling}")


def generation_parts(
    model: Model,
    limits: SchedulerLimits,
    context: LlamaContext,
    cache: KvCache,
) -> EngineParts:
    scheduler = Scheduler(limits, cache)
    return EngineParts(
        engine=Engine(context, scheduler, pieces=model.pieces, eog=frozenset()),
        context=context,
        counters=EngineCounters(scheduler, cache, context),
        saver=NullPromptSaver(),
        restorer=NullPromptRestorer(),
        embedder=Embedder(no_pooler),
    )


def embedding_parts(embedder: Embedder) -> EngineParts:
    null = NullEngine()
    return EngineParts(
        engine=null,
        context=null,
        counters=EngineCounters(null, null, null),
        saver=NullPromptSaver(),
        restorer=NullPromptRestorer(),
        embedder=embedder,
    )
