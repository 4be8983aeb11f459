"""A draft model takes memory that is free, and no layers and no context of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from localrun.hardware.device import Device, DeviceKind
from localrun.hardware.placement import Split
from localrun.hardware.plan import PlanRequest, make_plan
from localrun.hardware.reading import shape_of
from localrun.supervisor.draft_plan import draft_bytes, plan_with_draft
from tests.hardware.sparse import SHAPES

if TYPE_CHECKING:
    from pathlib import Path

    from localrun.hardware.shape import ModelShape
    from localrun.supervisor.draft_plan import DraftPlan

GIB = 1024**3
REQUEST = PlanRequest(num_ctx=8192)


@pytest.fixture
def model(tmp_path: Path) -> ModelShape:
    return shape(tmp_path, "llama 8B")


@pytest.fixture
def small(tmp_path: Path) -> ModelShape:
    return shape(tmp_path, "qwen3 0.6B")


def shape(folder: Path, name: str) -> ModelShape:
    SHAPES[name](folder / f"{name}.gguf")
    return shape_of([folder / f"{name}.gguf"])


def devices(host_gib: float, *gpu_gib: float) -> list[Device]:
    sizes = [*((DeviceKind.GPU, "CUDA", size) for size in gpu_gib)]
    return [
        Device(
            backend=backend, index=index, name=f"{backend}{index}", description="", kind=kind,
            total_bytes=round(size * GIB), free_bytes=round(size * GIB),
        )
        for index, (kind, backend, size) in enumerate(
            [*sizes, (DeviceKind.CPU, "CPU", host_gib)]
        )
    ]  # fmt: skip


def planned(
    model: ModelShape, small: ModelShape, found: list[Device], request: PlanRequest = REQUEST
) -> DraftPlan:
    return plan_with_draft(model, small, request, make_plan(model, request, found), found)


@pytest.mark.parametrize("found", [devices(64), devices(64, 24), devices(64, 24, 24)])
def test_free_memory_is_taken_where_the_first_layers_are(
    model: ModelShape, small: ModelShape, found: list[Device]
) -> None:
    plain = make_plan(model, REQUEST, found)

    drafted = planned(model, small, found)

    assert drafted.problem == ""
    assert drafted.size_bytes == draft_bytes(small, plain.setup) > small.weight_bytes
    assert drafted.plan.total_bytes == plain.total_bytes + drafted.size_bytes
    assert drafted.plan.split == plain.split
    device = found[0].name
    before, after = (
        next(share for share in plan.shares if share.device.name == device)
        for plan in (plain, drafted.plan)
    )
    assert after.weight_bytes - before.weight_bytes == drafted.size_bytes


def test_the_cells_of_the_draft_model_are_counted(small: ModelShape) -> None:
    short = make_plan(small, PlanRequest(num_ctx=1024), devices(64)).setup

    longer = replace(short, num_cells=short.num_cells + 1024)

    per_cell = 2 * 28 * (8 * 128 + 8 * 128)  # f16, layers, keys and values
    assert draft_bytes(small, longer) - draft_bytes(small, short) >= 1024 * per_cell


def test_no_layer_leaves_the_card_for_a_draft_model(model: ModelShape, small: ModelShape) -> None:
    request = replace(REQUEST, num_slots=1)  # no cells of further contexts
    whole = make_plan(model, request, devices(64, 24))
    tight = (whole.shares[0].total_bytes + 2**30) / GIB  # a GiB, of which the reserve takes half
    found = devices(64, tight)

    drafted = planned(model, small, found, request)

    assert drafted.plan == make_plan(model, request, found)
    assert drafted.plan.split.num_gpu_layers == 33
    assert drafted.problem.endswith("which would cost layers on the GPU")


def test_the_cells_of_further_contexts_are_not_given_up_for_a_draft_model(
    small: ModelShape,
) -> None:
    needed = make_plan(small, REQUEST, devices(64)).total_bytes / GIB
    sizes = [needed + 0.3 + part / 20 for part in range(400)]
    plans = [planned(small, small, devices(size)) for size in sizes]

    assert any("context" in plan.problem for plan in plans)
    for plan, size in zip(plans, sizes, strict=True):
        assert plan.plan.setup == make_plan(small, REQUEST, devices(size)).setup


def test_a_context_that_nobody_asked_for_stays_as_long(
    model: ModelShape, small: ModelShape
) -> None:
    request = PlanRequest()
    for size in range(10, 40):
        found = devices(size)

        drafted = planned(model, small, found, request)

        assert drafted.plan.num_ctx == make_plan(model, request, found).num_ctx
        assert drafted.plan.asked_ctx is None


@pytest.mark.parametrize(
    ("size", "problem"), [(4, "and the model alone does not fit"), (10.3, "more than is free")]
)
def test_what_does_not_fit_is_left_out(
    model: ModelShape, small: ModelShape, size: float, problem: str
) -> None:
    drafted = planned(model, small, devices(size))

    assert drafted.problem.endswith(problem)
    assert drafted.plan == make_plan(model, REQUEST, devices(size))


def test_layers_on_workers_leave_the_draft_model_out(model: ModelShape, small: ModelShape) -> None:
    far = replace(devices(64, 24)[0], worker="box")
    plan = make_plan(model, REQUEST, devices(64))
    plan = replace(plan, split=Split(gpus=(far,), counts=(33,)))

    assert plan_with_draft(model, small, REQUEST, plan, devices(64)).problem == (
        "not with layers on workers"
    )


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"is_windowed": True}, "sliding windows"), ({"state_bytes": 9}, "recurrent layers")],
)
def test_models_that_cannot_take_tokens_back_draft_nothing(
    model: ModelShape, small: ModelShape, change: dict[str, int], kind: str
) -> None:
    def changed(shape: ModelShape) -> ModelShape:
        first = replace(shape.layers[0], **change)  # type: ignore[arg-type]
        return replace(shape, layers=(first, *shape.layers[1:]))

    target = planned(changed(model), small, devices(64))
    draft = planned(model, changed(small), devices(64))

    assert target.problem.startswith(f"the model has {kind}")
    assert draft.problem.startswith(f"the draft model has {kind}")
