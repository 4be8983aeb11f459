"""Orders to runners, and the second try after a load that ran out of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.engine.params import MAX_STEP_TOKENS, CacheType, LoadOptions, RopeScaling
from localrun.errors import LoadError
from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.shape import MAX_STRETCH
from localrun.load_rules import LoadRules
from localrun.store.store import embedded_models
from localrun.supervisor.devices import only_processor
from localrun.supervisor.draft_choice import NO_DRAFT, DraftChoice
from localrun.supervisor.planning import (
    MAX_HOST_CACHE_BYTES,
    PlannedLoad,
    plan_load,
    plan_request,
    smaller_load,
)
from localrun.supervisor.pool import RunnerPool
from tests.fakes.starting import fake_model, start_fake
from tests.hardware.sparse import SHAPES, dense
from tests.translation.more_models import qwen35

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from localrun.supervisor.model import RunnerModel

GIB = 1024**3
GUIDE = embedded_models()["guide:latest"]


def model(path: Path = GUIDE, **changes: object) -> RunnerModel:
    return replace(fake_model(), shards=(path,), **changes)  # type: ignore[arg-type]


def devices(*gpu_gib: float) -> list[Device]:
    kinds = [*((DeviceKind.GPU, "CUDA", size) for size in gpu_gib), (DeviceKind.CPU, "CPU", 64)]
    return [
        Device(
            backend=backend, index=index, name=f"{backend}{index}", description="", kind=kind,
            total_bytes=round(size * GIB), free_bytes=round(size * GIB),
        )
        for index, (kind, backend, size) in enumerate(kinds)
    ]  # fmt: skip


def source(planned: PlannedLoad, name: str) -> str:
    return next(setting.source for setting in planned.settings if setting.name == name)


@pytest.fixture
def eight_billion(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    SHAPES["llama 8B"](path)
    return path


@pytest.mark.parametrize(
    ("asked", "by_recipe", "source_name", "expected"),
    [(1024, 512, "request", 1024), (None, 512, "recipe", 512), (None, None, "plan", 2048)],
)
def test_the_context_says_who_chose_it(
    asked: int | None, by_recipe: int | None, source_name: str, expected: int
) -> None:
    planned = plan_load(model(num_ctx=by_recipe), asked, only_processor)

    assert planned.load.num_ctx == expected
    assert planned.load.num_cells == 4 * expected
    assert source(planned, "context") == source_name


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LoadOptions(rope_scaling=RopeScaling.YARN), 4096),
        (LoadOptions(rope_freq_scale=0.5), 4096),
        (LoadOptions(rope_scaling=RopeScaling.NONE, rope_freq_scale=0.5), 2048),
        (LoadOptions(rope_freq_scale=1.0), 2048),
    ],
)
def test_stretched_positions_may_go_beyond_the_trained_context(
    options: LoadOptions, expected: int
) -> None:
    planned = plan_load(model(num_ctx=4096, options=options), None, only_processor)

    assert planned.load.num_ctx == expected


def test_stretching_has_its_bound() -> None:
    options = LoadOptions(rope_scaling=RopeScaling.YARN)

    planned = plan_load(model(options=options), 2**40, only_processor)

    assert planned.load.num_ctx == 2048 * MAX_STRETCH


def test_a_model_that_is_asked_for_too_much_gets_its_own_context() -> None:
    planned = plan_load(model(), 100_000, only_processor)

    assert planned.load.num_ctx == 2048
    assert planned.settings[0].reason == "cut from 100000 to the model's own 2048 tokens"


def test_layers_are_divided_between_the_gpus_that_are_there(eight_billion: Path) -> None:
    load = plan_load(model(eight_billion), None, lambda: devices(8, 4)).load
    one = plan_load(model(eight_billion), None, lambda: devices(4, 16)).load
    none = plan_load(model(eight_billion, num_gpu_layers=0), None, lambda: devices(16)).load

    assert load.num_gpu_layers == sum(load.tensor_split) == 33
    assert load.options.devices == ("CUDA0", "CUDA1")
    assert (one.num_gpu_layers, one.tensor_split) == (33, (33.0,))
    assert one.options.devices == ("CUDA1",)  # the other one gives no buffer either
    assert (none.num_gpu_layers, none.tensor_split) == (0, ())


def test_without_a_gpu_in_sight_no_backend_of_one_is_loaded() -> None:
    load = plan_load(model(), None, only_processor).load

    assert (load.options.devices, load.num_gpu_layers) == ((), -1)


def test_a_file_that_cannot_be_read_is_left_to_the_runner(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    path.write_bytes(b"GGUF")
    planned = plan_load(model(path), None, only_processor)

    assert planned.plan is None
    assert planned.load.num_ctx is None


def test_options_count(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(bytes(100))
    options = LoadOptions(cache_type=CacheType.Q8_0, num_batch=64, flash_attention=False)
    wish = plan_request(options, num_ctx=None, num_slots=4, others=[adapter])

    assert (wish.cache_type, wish.step_tokens) == ("q8_0", 64)
    assert (wish.has_flash_attention, wish.extra_bytes) == (False, 100)


def test_copies_of_prefixes_get_a_part_of_what_is_left() -> None:
    def narrow() -> list[Device]:
        return [replace(device, free_bytes=GIB) for device in devices()]

    roomy, tight = (plan_load(model(), None, there).load for there in (devices, narrow))

    assert roomy.host_cache_bytes == MAX_HOST_CACHE_BYTES
    assert GIB // 16 < tight.host_cache_bytes < GIB // 8


def test_a_huge_batch_is_planned_as_it_is_loaded() -> None:
    wish = plan_request(LoadOptions(num_batch=100_000_000), num_ctx=None, num_slots=4)

    assert wish.step_tokens == MAX_STEP_TOKENS


def test_want_of_memory_is_answered_by_a_smaller_plan(eight_billion: Path) -> None:
    def few() -> list[Device]:
        return devices(10)

    failed = plan_load(model(eight_billion), None, few)
    full = LoadError("model.gguf could not be loaded: unable to allocate CUDA0 buffer")
    broken = LoadError("model.gguf could not be loaded: wrong number of tensors")

    smaller = smaller_load(model(eight_billion), None, few, failed, full)

    assert smaller is not None
    assert smaller.load.num_gpu_layers < failed.load.num_gpu_layers
    assert smaller.settings[-1].reason == full.message
    assert smaller_load(model(eight_billion), None, few, failed, broken) is None


@pytest.mark.parametrize(
    ("asked", "by_recipe", "source_name", "expected"),
    [(1024, 512, "request", 1024), (None, 512, "recipe", 512), (None, None, "default", 256)],
)
def test_the_servers_context_is_overruled_by_recipe_and_request(
    asked: int | None, by_recipe: int | None, source_name: str, expected: int
) -> None:
    rules = LoadRules(num_ctx=256, num_parallel=1)
    planned = plan_load(model(num_ctx=by_recipe), asked, only_processor, rules=rules)

    assert (planned.load.num_ctx, planned.load.num_cells) == (expected, expected)
    assert planned.load.num_parallel == 1
    assert source(planned, "context") == source_name


def test_the_servers_cache_type_is_overruled_by_the_recipe() -> None:
    rules = LoadRules(cache_type="q8_0", flash_attention=True)
    own = LoadOptions(cache_type=CacheType.Q4_0, flash_attention=False)

    by_server = plan_load(model(), None, only_processor, rules=rules)
    by_recipe = plan_load(model(options=own), None, only_processor, rules=rules)

    assert by_server.load.options.cache_type is CacheType.Q8_0
    assert by_server.load.options.flash_attention is True
    assert by_recipe.load.options == replace(own, devices=())
    assert (source(by_server, "cache type"), source(by_recipe, "cache type")) == (
        "default",
        "recipe",
    )
    assert by_server.plan is not None
    assert by_server.plan.setup.cache_type == "q8_0"


def test_a_cache_type_that_a_model_cannot_have_is_left_out_with_a_reason(tmp_path: Path) -> None:
    odd = tmp_path / "odd.gguf"
    dense("llama", layers=1, width=160, heads=2, kv_heads=2, inner=64, vocabulary=64)(odd)
    rules = LoadRules(cache_type="q8_0")
    off = LoadOptions(flash_attention=False)

    by_heads = plan_load(model(odd), None, only_processor, rules=rules)
    by_recipe = plan_load(model(options=off), None, only_processor, rules=rules)

    assert by_heads.load.options.cache_type is by_recipe.load.options.cache_type is None
    assert by_heads.cache_note == "q8_0 has blocks of 32, and a head of the model has 80 values"
    assert "which the recipe switches off" in by_recipe.cache_note
    assert source(by_heads, "cache type") == "plan"


def test_a_cache_type_that_llama_cpp_refuses_is_the_servers_or_an_error() -> None:
    rules = LoadRules(cache_type="q8_0")
    refused = LoadError("no context of 2048 tokens with kv_cache_type q8_0: ... no memory")
    own = model(options=LoadOptions(cache_type=CacheType.Q8_0))

    by_server = plan_load(model(), None, only_processor, rules=rules)
    by_recipe = plan_load(own, None, only_processor, rules=rules)
    retried = smaller_load(model(), None, only_processor, by_server, refused, rules=rules)

    assert retried is not None
    assert retried.load.options.cache_type is None
    assert smaller_load(own, None, only_processor, by_recipe, refused, rules=rules) is None


@pytest.fixture
def pool() -> Iterator[RunnerPool]:
    found = RunnerPool(keep_alive_s=300, start=start_fake, devices=lambda: devices(10))
    yield found
    found.close()


def test_a_load_is_tried_again_smaller_and_says_so(pool: RunnerPool, tmp_path: Path) -> None:
    path = tmp_path / "tight.gguf"  # the fake runner has memory for half of it
    SHAPES["llama 8B"](path)

    pool.load(model(path))

    (running,) = pool.running()
    assert running.planned is not None
    assert running.planned.settings[-1].name == "retry"
    assert "no memory" in running.planned.settings[-1].reason


def test_a_model_that_never_fits_fails_with_its_reason(pool: RunnerPool, tmp_path: Path) -> None:
    path = tmp_path / "full.gguf"
    SHAPES["llama 8B"](path)

    with pytest.raises(LoadError, match="no memory"):
        pool.load(model(path))


def test_mtp_layers_in_the_file_are_loaded_and_named(tmp_path: Path) -> None:
    qwen35(tmp_path / "mtp.gguf", GUIDE)

    with_layers = plan_load(model(tmp_path / "mtp.gguf"), None, only_processor)
    without = plan_load(model(), None, only_processor)

    assert with_layers.load.has_mtp
    assert source(with_layers, "MTP layers") == "plan"
    assert not without.load.has_mtp
    assert all(setting.name != "MTP layers" for setting in without.settings)


def drafted(path: Path, **changes: object) -> DraftChoice:
    choice = DraftChoice(name="small", paths=(path,), source="catalog")
    return replace(choice, **changes)  # type: ignore[arg-type]


def setting(planned: PlannedLoad, name: str) -> tuple[str, str, str]:
    found = next(each for each in planned.settings if each.name == name)
    return found.value, found.source, found.reason


def test_a_chosen_draft_model_is_loaded_and_counted(eight_billion: Path) -> None:
    def load(choice: DraftChoice) -> PlannedLoad:
        return plan_load(model(eight_billion), 1024, lambda: devices(24), drafts=lambda _: choice)

    plain, planned = load(NO_DRAFT), load(drafted(GUIDE))

    assert plain.load.draft_paths == ()
    assert "draft model" not in {each.name for each in plain.settings}
    assert planned.load.draft_paths == (str(GUIDE),)
    assert not planned.load.requires_draft
    assert plain.plan is not None
    assert planned.plan is not None
    assert planned.plan.total_bytes > plain.plan.total_bytes
    assert setting(planned, "draft model")[:2] == ("small", "catalog")


@pytest.mark.parametrize("name", ["request", "recipe"])
def test_a_draft_model_that_somebody_named_must_load(eight_billion: Path, name: str) -> None:
    choice = drafted(GUIDE, source=name)

    planned = plan_load(model(eight_billion), 1024, lambda: devices(24), drafts=lambda _: choice)

    assert planned.load.requires_draft


@pytest.mark.parametrize(
    ("size", "tightness", "file", "reason"),
    [
        (8.6, 1.0, "", "would cost"),
        (24, 0.75, "", "an earlier load ran out of memory"),
        (24, 1.0, "gone.gguf", "its file cannot be read"),
    ],
)
def test_a_draft_model_that_cannot_be_had_is_left_out_with_the_reason(
    tmp_path: Path, eight_billion: Path, size: float, tightness: float, file: str, reason: str
) -> None:
    SHAPES["qwen3 0.6B"](tmp_path / "small.gguf")
    choice = drafted(tmp_path / (file or "small.gguf"))

    planned = plan_load(
        model(eight_billion), 1024, lambda: devices(size), tightness=tightness,
        drafts=lambda _: choice, rules=LoadRules(num_parallel=1),
    )  # fmt: skip

    assert planned.load.draft_paths == ()
    value, source_name, why = setting(planned, "draft model")
    assert (value, source_name) == ("not used: small", "catalog")
    assert reason in why


def test_a_switched_off_draft_model_is_told(eight_billion: Path) -> None:
    off = DraftChoice(reason="switched off")

    planned = plan_load(model(eight_billion), 1024, lambda: devices(24), drafts=lambda _: off)

    assert setting(planned, "draft model") == ("none", "default", "switched off")
