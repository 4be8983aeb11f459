"""How the pool loads a model, by the parameters of its recipe."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localrun.engine.params import CacheType
from localrun.services.recipes import StoredRecipe
from localrun.services.runner_models import embedding_model, runner_model
from localrun.services.stored_model import ModelDetails, StoredModel
from localrun.supervisor.devices import only_processor
from localrun.supervisor.planning import plan_load


def recipe(*parameters: tuple[str, Any], **fields: Any) -> StoredRecipe:
    return StoredRecipe(parameters=parameters, **fields)


def model(recipe: StoredRecipe) -> StoredModel:
    details = ModelDetails(
        format="gguf", family="llama", parameter_size="1M", quantization_level="Q8_0",
        context_length=2048, capabilities=(),
    )  # fmt: skip
    return StoredModel(
        name="m:latest", shards=(Path("m.gguf"),), digest="sha256:0", size_bytes=1,
        modified=datetime.now(UTC), details=details, chat_template=None, recipe=recipe,
    )  # fmt: skip


def test_the_runner_is_set_up_as_the_recipe_says() -> None:
    said = recipe(
        ("num_ctx", 512), ("num_thread", 2), ("num_gpu", 0), ("kv_cache_type", "Q8_0"),
        ("flash_attention", "on"), ("num_batch", 64), ("rope_frequency_base", 10000.0),
        ("yarn_ext_factor", 0.5), ("use_mmap", False), ("main_gpu", 1),
    )  # fmt: skip

    load = plan_load(runner_model(model(said)), None, only_processor).load

    assert (load.num_ctx, load.num_threads, load.num_gpu_layers) == (512, 2, 0)
    assert (load.options.cache_type, load.options.num_batch) == (CacheType.Q8_0, 64)
    assert (load.options.flash_attention, load.options.rope_freq_base) == (True, 10000.0)
    assert (load.options.yarn_ext_factor, load.options.main_gpu) == (0.5, 1)
    assert load.options.use_mmap is False
    assert plan_load(runner_model(model(said)), 1024, only_processor).load.num_ctx == 1024


def test_what_the_header_says_of_its_arrays_changes_no_identity() -> None:
    plain = model(recipe())
    known = runner_model(replace(plain, array_ends=((10, 20),)))

    assert known.array_ends == ((10, 20),)
    assert known == runner_model(plain)
    assert hash(known.shared) == hash(runner_model(plain).shared)


def test_embeddings_with_adapters_have_a_runner_of_their_own() -> None:
    plain = model(recipe())
    adapted = replace(plain, adapters=((Path("/a.gguf"), 0.5),))

    assert runner_model(adapted).shared == runner_model(plain).shared
    assert embedding_model(plain).shared == runner_model(plain).shared
    assert embedding_model(adapted).shared != runner_model(plain).shared
    load = plan_load(embedding_model(adapted), None, only_processor).load
    assert load.adapters == (("/a.gguf", 0.5),)


@pytest.mark.parametrize("value", ["many", True, 1.5, float("nan"), 2.0**70])
def test_a_malformed_parameter_is_ignored(value: object) -> None:
    assert runner_model(model(recipe(("num_ctx", value)))).num_ctx is None
