"""Runner models: how the pool loads a stored model, from the parameters of its recipe.

A recipe of another tool may contain any value. A parameter that is malformed is ignored with a
warning; the model still loads. Parameters of requests (template, system, sampling) are not part of
a runner model: `server.core.defaults` has them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from localrun.engine.params import CacheType, LoadOptions, RopeScaling
from localrun.modelfile.known import KNOWN
from localrun.services.remotes.stored import refuse_remote
from localrun.supervisor.model import RunnerModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.services.recipes import StoredRecipe, Value
    from localrun.services.stored_model import StoredModel

SWITCHES = {"on": True, "true": True, "off": False, "false": False}  # others: the default
YARN = ("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow")
LARGEST_INTEGER = 2**63 - 1
MAX_SHOWN = 80  # characters of a value in a warning
T = TypeVar("T")
E = TypeVar("E", CacheType, RopeScaling)
_log = logging.getLogger(__name__)


def runner_model(model: StoredModel) -> RunnerModel:
    """Return what the pool loads for a model; adapters are chosen by requests.

    Raises:
        UsageError: the model is remote, so that nothing can be loaded.
    """
    refuse_remote(model)
    recipe = model.recipe
    layers = _integer(recipe, "num_gpu")
    return RunnerModel(
        name=model.name,
        shards=model.shards,
        digest=model.digest,
        size_bytes=model.size_bytes,
        chat_template=model.chat_template,
        num_ctx=_positive(recipe, "num_ctx"),
        num_threads=_positive(recipe, "num_thread"),
        num_gpu_layers=-1 if layers is None else layers,
        options=_options(recipe),
        draft=model.draft,
        origin=model.origin,
        projector=next(iter(model.projectors), None),
        projector_digest=next(iter(model.projector_digests), ""),
        weights=model.weights,
        array_ends=model.array_ends,
    )


def embedding_model(model: StoredModel) -> RunnerModel:
    """Return what the pool loads for embeddings: a model with adapters has its own runner."""
    adapters = tuple((str(path), scale) for path, scale in model.adapters)
    return replace(runner_model(model), adapters=adapters)


def _options(recipe: StoredRecipe) -> LoadOptions:
    options = LoadOptions(
        num_batch=_positive(recipe, "num_batch"),
        flash_attention=SWITCHES.get(str(recipe.parameter("flash_attention")).lower()),
        cache_type=_choice(recipe, "kv_cache_type", CacheType),
        rope_freq_base=_bounded(recipe, "rope_frequency_base") or None,
        rope_freq_scale=_bounded(recipe, "rope_frequency_scale") or None,
        rope_scaling=_choice(recipe, "rope_scaling", RopeScaling),
        yarn_orig_ctx=_positive(recipe, "yarn_orig_ctx"),
        main_gpu=_integer(recipe, "main_gpu"),
        use_mmap=SWITCHES.get(str(recipe.parameter("use_mmap")).lower()),
    )
    yarn: dict[str, Any] = {name: _bounded(recipe, name) for name in YARN}
    return replace(options, **yarn)


def _integer(recipe: StoredRecipe, name: str) -> int | None:
    def parse(value: Value) -> int:
        number = _number(value, -LARGEST_INTEGER, LARGEST_INTEGER)
        if number != int(number):
            raise ValueError("not an integer")
        return int(number)

    return _parsed(recipe, name, parse)


def _positive(recipe: StoredRecipe, name: str) -> int | None:
    value = _integer(recipe, name)
    return value if value is not None and value > 0 else None


def _bounded(recipe: StoredRecipe, name: str) -> float | None:
    known = KNOWN[name]
    return _parsed(recipe, name, lambda value: _number(value, known.low, known.high))


def _choice(recipe: StoredRecipe, name: str, kind: type[E]) -> E | None:
    return _parsed(recipe, name, lambda value: kind(str(value).lower()))


def _number(value: Value, low: float, high: float) -> float:
    """Return a number from ``low`` to ``high``.

    Raises:
        ValueError: the value is another one, such as NaN or a text.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError("not a number in range")
    return value


def _parsed(recipe: StoredRecipe, name: str, parse: Callable[[Value], T]) -> T | None:
    """Return a parsed parameter, None if it is absent or malformed; the latter with a warning."""
    value = recipe.parameter(name)
    if value is None:
        return None
    try:
        return parse(value)
    except ValueError:
        _log.warning("the parameter %s %s is ignored", name, repr(value)[:MAX_SHOWN])
        return None
