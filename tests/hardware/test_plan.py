"""What goes where on machines of all kinds; the model has 8 layers of 1000 MiB and an output."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.plan import (
    COMFORTABLE_CONTEXT,
    GPU_RESERVE,
    HOST_RESERVE,
    MAX_HOST_CACHE,
    SHARED_CELLS,
    LoadPlan,
    PlanRequest,
    context_steps,
    make_plan,
)
from localrun.hardware.shape import LayerShape, ModelShape

MIB = 1024 * 1024
GIB = 1024 * MIB
LAYER = LayerShape(
    dense_bytes=1000 * MIB,
    expert_bytes=0,
    key_width=1024,
    value_width=1024,
    is_windowed=False,
    state_bytes=0,
)
DENSE = ModelShape(
    layers=(LAYER,) * 8,
    input_bytes=500 * MIB,
    output_bytes=500 * MIB,
    is_tied=False,
    width=4096,
    query_width=4096,
    inner_width=14336,
    expert_width=0,
    num_experts_used=0,
    num_heads=32,
    num_vocab=128000,
    trained_context=131072,
    window=0,
    largest_bytes=60 * MIB,
)
MIXTURE = replace(
    DENSE,
    layers=(replace(LAYER, dense_bytes=100 * MIB, expert_bytes=900 * MIB),) * 8,
    expert_width=6144,
    num_experts_used=8,
)


def processor(free: int = 64 * GIB) -> Device:
    return Device(
        backend="CPU", index=0, name="CPU", description="", kind=DeviceKind.CPU,
        total_bytes=free, free_bytes=free,
    )  # fmt: skip


def gpu(free: int, index: int = 0) -> Device:
    return Device(
        backend="CUDA", index=index, name=f"CUDA{index}", description="", kind=DeviceKind.GPU,
        total_bytes=free, free_bytes=free,
    )  # fmt: skip


def plan(shape: ModelShape, *devices: Device, wish: PlanRequest | None = None) -> LoadPlan:
    made = make_plan(shape, wish or PlanRequest(), [*devices])
    for share in made.shares:
        reserve = GPU_RESERVE if share.device.is_gpu else HOST_RESERVE
        assert not made.fits or share.total_bytes <= share.device.free_bytes - reserve
    layers = sum(share.num_layers for share in made.shares)
    assert layers == shape.num_layers + 1  # each layer, and the output, lies somewhere once
    weights = sum(share.weight_bytes for share in made.shares)
    assert weights == shape.weight_bytes + (shape.input_bytes if shape.is_tied else 0)
    return made


def test_everything_goes_to_a_gpu_that_is_large_enough() -> None:
    made = plan(DENSE, gpu(24 * GIB), processor())

    assert made.fits
    assert made.split.counts == (9,)
    assert made.num_ctx > COMFORTABLE_CONTEXT
    assert made.shares[0].cell_bytes <= (24 * GIB - made.shares[0].weight_bytes) / 2


def test_a_tied_output_is_copied_to_the_gpu() -> None:
    tied = replace(DENSE, is_tied=True)

    assert plan(tied, gpu(24 * GIB), processor()).shares[0].weight_bytes == 8500 * MIB
    assert make_plan(tied, PlanRequest(), [processor()]).shares[0].weight_bytes == 8500 * MIB


def test_two_gpus_take_what_one_cannot() -> None:
    made = plan(DENSE, gpu(8 * GIB), gpu(4 * GIB, 1), processor())

    assert made.fits
    assert made.split.num_gpu_layers == 9
    assert made.split.counts == (6, 3)
    assert made.num_ctx >= COMFORTABLE_CONTEXT


def test_layers_stay_behind_when_a_gpu_is_small() -> None:
    made = plan(DENSE, gpu(6 * GIB), processor())

    assert made.fits
    assert made.split.counts == (5,)
    assert made.num_ctx == COMFORTABLE_CONTEXT
    one_more = make_plan(DENSE, PlanRequest(num_gpu_layers=6), [gpu(6 * GIB), processor()])
    assert not one_more.fits


def test_experts_leave_before_layers_do() -> None:
    made = plan(MIXTURE, gpu(6 * GIB), processor())

    assert made.fits
    assert made.split.counts == (9,)
    assert 0 < made.split.num_host_experts < 8
    assert made.shares[0].total_bytes > 6 * GIB - GPU_RESERVE - 900 * MIB  # one more would not fit


def test_layers_leave_too_when_all_experts_have() -> None:
    made = plan(MIXTURE, gpu(1800 * MIB), processor())

    assert made.fits
    assert 0 < made.split.num_gpu_layers < 9
    assert made.split.num_host_experts == 8


def test_a_named_context_is_kept_at_the_cost_of_layers() -> None:
    made = plan(DENSE, gpu(12 * GIB), processor(), wish=PlanRequest(num_ctx=131072))

    assert made.fits
    assert made.num_ctx == 131072
    assert 0 < made.split.num_gpu_layers < 9


def test_a_named_context_is_no_longer_than_the_models_own() -> None:
    assert plan(DENSE, processor(), wish=PlanRequest(num_ctx=999_999)).num_ctx == 131072


def test_layers_that_were_asked_for_are_kept() -> None:
    assert plan(
        DENSE, gpu(24 * GIB), processor(), wish=PlanRequest(num_gpu_layers=3)
    ).split.counts == (3,)
    none = plan(DENSE, gpu(24 * GIB), processor(), wish=PlanRequest(num_gpu_layers=0))
    assert [share.device.name for share in none.shares] == ["CPU"]


def test_the_processors_memory_is_not_used_up_by_a_context() -> None:
    made = plan(DENSE, processor(64 * GIB))

    assert COMFORTABLE_CONTEXT < made.num_ctx < DENSE.trained_context
    assert made.shares[0].cell_bytes <= MAX_HOST_CACHE


def test_a_context_is_never_silently_tiny() -> None:
    tight = plan(DENSE, processor(9600 * MIB))
    tighter = plan(DENSE, processor(9400 * MIB))

    assert (tight.fits, tight.num_ctx) == (True, 6144)
    assert (tighter.fits, tighter.num_ctx) == (False, 4096)
    assert "MiB more of free memory" in tighter.advice[0]


def test_a_plan_that_does_not_fit_says_what_would() -> None:
    made = plan(DENSE, processor(12 * GIB), wish=PlanRequest(num_ctx=131072))

    assert not made.fits
    shorter = next(int(it.split()[1]) for it in made.advice if it.startswith("--ctx"))
    assert plan(DENSE, processor(12 * GIB), wish=PlanRequest(num_ctx=shorter)).fits
    assert not plan(DENSE, processor(12 * GIB), wish=PlanRequest(num_ctx=shorter * 2)).fits


def test_short_contexts_share_a_larger_cache_where_there_is_room() -> None:
    assert plan(DENSE, processor(), wish=PlanRequest(num_ctx=4096)).setup.num_cells == SHARED_CELLS
    tight = plan(DENSE, processor(9600 * MIB), wish=PlanRequest(num_ctx=4096))
    assert (tight.fits, tight.setup.num_cells) == (True, 4096)


def test_a_smaller_cache_type_is_taken_only_when_asked_for() -> None:
    devices = [gpu(11 * GIB), processor()]
    usual = make_plan(DENSE, PlanRequest(num_ctx=131072), devices)
    small = make_plan(DENSE, PlanRequest(num_ctx=131072, cache_type="q4_0"), devices)

    assert usual.setup.cache_type == "f16"
    assert usual.split.num_gpu_layers < small.split.num_gpu_layers
    assert any("kv_cache_type" in advice for advice in usual.advice)


def test_after_a_failure_less_is_counted_on() -> None:
    first = plan(DENSE, gpu(11 * GIB), processor())
    second = plan(DENSE, gpu(11 * GIB), processor(), wish=PlanRequest(tightness=0.75))

    assert second.gpu_bytes < first.gpu_bytes


@pytest.mark.parametrize(
    ("longest", "steps"),
    [
        (16384, [16384, 12288, 8192, 6144, 4096]),
        (40960, [40960, 32768, 24576, 16384, 12288, 8192, 6144, 4096]),
        (2048, [2048]),
    ],
)
def test_contexts_come_in_steps(longest: int, steps: list[int]) -> None:
    assert context_steps(longest) == steps


LONG = replace(DENSE, trained_context=2**20)
WIDE_LAYER = replace(LAYER, key_width=4096)  # 2.5 GiB for 32,768 tokens


@pytest.mark.parametrize(
    ("gib", "least", "most"),
    [(23, 32768, 262144), (47.5, 262144, 2**20), (80, 262144, 2**20)],
)
def test_large_cards_have_at_least_the_context_of_their_tier(
    gib: float, least: int, most: int
) -> None:
    made = plan(LONG, gpu(round(gib * GIB)), processor())

    assert least <= made.num_ctx <= most


def test_a_tier_may_take_more_than_half_of_what_the_weights_leave() -> None:
    wide = replace(DENSE, layers=(replace(WIDE_LAYER, dense_bytes=2300 * MIB),) * 8)
    below = plan(wide, gpu(round(22.9 * GIB)), processor())
    above = plan(wide, gpu(23 * GIB), processor())

    assert below.num_ctx < above.num_ctx == 32768
    assert above.shares[0].cell_bytes > (23 * GIB - above.shares[0].weight_bytes) / 2


def test_a_tier_is_never_longer_than_the_model_or_the_memory() -> None:
    short = replace(DENSE, trained_context=20_000)
    full = replace(DENSE, layers=(replace(WIDE_LAYER, dense_bytes=2700 * MIB),) * 8)

    assert plan(short, gpu(24 * GIB), processor()).num_ctx == 20_000
    assert COMFORTABLE_CONTEXT <= plan(full, gpu(24 * GIB), processor()).num_ctx < 32768


def test_two_cards_count_together() -> None:
    one = plan(LONG, gpu(24 * GIB), processor())
    two = plan(LONG, gpu(24 * GIB), gpu(24 * GIB, 1), processor())

    assert one.num_ctx < 262144 <= two.num_ctx


def test_a_tier_moves_no_layer_off_the_card() -> None:
    large = replace(DENSE, layers=(replace(WIDE_LAYER, dense_bytes=5700 * MIB),) * 8)

    made = plan(large, gpu(47 * GIB), processor())

    assert made.split.counts == (9,)
    assert made.num_ctx < 32768


def test_an_integrated_gpu_takes_as_little_of_the_machines_memory_as_the_processor() -> None:
    integrated = replace(gpu(64 * GIB), kind=DeviceKind.IGPU)

    made = plan(DENSE, integrated, processor())

    assert made.split.counts == (9,)
    assert made.num_ctx == plan(DENSE, processor(64 * GIB)).num_ctx


def test_the_reserve_is_left_to_other_programs() -> None:
    reserve = PlanRequest(gpu_reserve_bytes=6 * GIB)
    made = plan(DENSE, gpu(16 * GIB), processor(), wish=reserve)

    assert made.gpu_bytes <= 16 * GIB - 6 * GIB - GPU_RESERVE
    assert made.split.counts == (9,)
    assert plan(DENSE, gpu(12 * GIB), processor(), wish=reserve).split.num_gpu_layers < 9
    assert plan(DENSE, gpu(4 * GIB), processor(), wish=reserve).split.num_gpu_layers == 0
    tier = plan(LONG, gpu(24 * GIB), processor(), wish=reserve)
    assert tier.gpu_bytes <= 18 * GIB


@pytest.mark.parametrize(("num_slots", "num_contexts"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_a_cache_has_no_more_contexts_than_sequences(num_slots: int, num_contexts: int) -> None:
    made = plan(DENSE, processor(), wish=PlanRequest(num_ctx=4096, num_slots=num_slots))

    assert made.setup.num_cells == num_contexts * 4096
