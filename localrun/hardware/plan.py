"""What goes where, decided before anything is loaded.

    1  everything on one GPU, with as long a context as there is memory for
    2  everything on several GPUs, by layers
    3  experts with the processor, as few layers of them as will do
    4  fewer layers on the GPUs
    5  a shorter context, where nobody named one

A context that nobody named takes no more than `GPU_SHARE` of what a GPU has left beside the
weights, or `HOST_SHARE` and `MOST_HOST_CACHE` with the processor, whose memory everybody
needs; it is at least `COMFORTABLE_CONTEXT` where that fits at all. A smaller type of the
cache is taken only where it was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from localrun.hardware.device import DeviceKind
from localrun.hardware.need import Setup
from localrun.hardware.placement import Share, Split, place
from localrun.hardware.shape import context_note, longest_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from localrun.hardware.device import Device
    from localrun.hardware.shape import ModelShape

MIB = 1024 * 1024
GPU_RESERVE = 512 * MIB  # what a driver takes for a process, and crumbs
HOST_RESERVE = 256 * MIB
GPU_SHARE, HOST_SHARE = 0.5, 0.125
MOST_HOST_CACHE = 2048 * MIB  # llama.cpp writes all of it when it loads
COMFORTABLE_CONTEXT = 8192
SMALLEST_CONTEXT = 4096
SHARED_CELLS = 16384  # the cache holds four full contexts, as long as that is not more than this
CONTEXTS_IN_CACHE = 4
ALL_LAYERS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What somebody asked for; None leaves it to the plan."""

    num_ctx: int | None = None
    num_slots: int = 16
    step_tokens: int = 512
    cache_type: str = "f16"
    has_flash_attention: bool = True
    num_gpu_layers: int = ALL_LAYERS
    extra_bytes: int = 0  # adapters, projector, draft
    tightness: float = 1.0  # of the memory counted on, once a load has failed all the same
    stretching: str = ""  # what maps a named context beyond the training's into it


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A decision; where it does not fit it is the smallest that could be made."""

    num_ctx: int
    setup: Setup
    split: Split
    shares: tuple[Share, ...]
    fits: bool
    reason: str  # why the layers and the context are what they are
    advice: tuple[str, ...] = ()  # what would make it fit, or make it faster
    asked_ctx: int | None = None
    context_note: str = ""  # how what was asked for was cut or stretched

    @property
    def total_bytes(self) -> int:
        """Return what all devices together give."""
        return sum(share.total_bytes for share in self.shares)

    @property
    def gpu_bytes(self) -> int:
        """Return what the GPUs give."""
        return sum(share.total_bytes for share in self.shares if share.device.is_gpu)


def make_plan(shape: ModelShape, wish: PlanRequest, devices: Sequence[Device]) -> LoadPlan:
    """Return where the model goes; ``devices`` holds the processor, and GPUs in their order."""
    planner = _Planner(shape, wish, devices)
    plan = next(planner.fitting(), None) or planner.smallest()
    return replace(
        plan,
        advice=tuple(planner.advice(plan)),
        asked_ctx=wish.num_ctx,
        context_note=context_note(wish.num_ctx, shape.trained_context, wish.stretching),
    )


def context_steps(longest: int) -> list[int]:
    """Return the contexts that are tried, the longest first: powers of two and their halves more.

    None is shorter than `SMALLEST_CONTEXT`, unless the model's own is.
    """
    steps = {longest}
    step = SMALLEST_CONTEXT
    while step < longest:
        steps.update(length for length in (step, step + step // 2) if length < longest)
        step *= 2
    return sorted(steps, reverse=True)


class _Planner:
    """One question: a model, a wish and the devices there are."""

    def __init__(self, shape: ModelShape, wish: PlanRequest, devices: Sequence[Device]) -> None:
        self._shape = shape
        self._wish = wish
        self._host = next(one for one in devices if one.kind is DeviceKind.CPU)
        wants_gpu = wish.num_gpu_layers != 0
        self._gpus = tuple(one for one in devices if one.is_gpu) if wants_gpu else ()
        asked, trained = wish.num_ctx, shape.trained_context
        if asked is None:
            self._contexts = context_steps(longest_context(trained, ""))
        else:
            self._contexts = [min(asked, longest_context(trained, wish.stretching))]

    def fitting(self) -> Iterator[LoadPlan]:
        """Yield plans that fit, the best first."""
        yield from self._whole()
        for context in self._base_contexts():
            for split, reason in self._smaller_splits(context):
                plan = self._plan(context, split, reason)
                if plan.fits:
                    yield plan

    def smallest(self) -> LoadPlan:
        """Return what takes the least memory, for the case that nothing fits."""
        asked = self._wish.num_gpu_layers
        count = min(asked, self._shape.num_layers + 1) if self._gpus and asked > 0 else 0
        split = self._spread(self._gpus, count) if count else Split()
        return self._plan(self._contexts[-1], split, "it is more than the memory that is free")

    def advice(self, plan: LoadPlan) -> Iterator[str]:
        """Yield what the user could do."""
        if not plan.fits:
            missing = sum(max(0, -self._spare(share)) for share in plan.shares)
            yield f"{missing / MIB:.0f} MiB more of free memory, or a smaller quantization"
            for context in context_steps(plan.num_ctx)[1:] if self._wish.num_ctx else ():
                if self._plan(context, plan.split, "").fits:
                    yield f"--ctx {context}"
                    break
        if self._wish.cache_type in {"f16", "f32", "bf16"} and not self._is_whole(plan):
            yield "PARAMETER kv_cache_type q8_0 in a Modelfile halves the cache"

    def _whole(self) -> Iterator[LoadPlan]:
        """Yield plans that leave no layer behind: on one device, then on several."""
        for gpus in self._groups():
            split = self._spread(gpus, self._shape.num_layers + 1)
            where = " and ".join(gpu.name for gpu in gpus) or "the processor"
            for context in self._comfortable_contexts():
                plan = self._plan(context, split, f"all layers fit {where}")
                if plan.fits and self._is_modest(plan):
                    yield plan

    def _groups(self) -> list[tuple[Device, ...]]:
        if not self._gpus:
            return [()]
        if self._wish.num_gpu_layers != ALL_LAYERS:
            return []
        singles: list[tuple[Device, ...]] = [(gpu,) for gpu in self._gpus]
        return [*singles, self._gpus] if len(self._gpus) > 1 else singles

    def _comfortable_contexts(self) -> list[int]:
        least = min(COMFORTABLE_CONTEXT, self._contexts[0])
        return [context for context in self._contexts if context >= least]

    def _base_contexts(self) -> list[int]:
        """Return the contexts for which layers may leave the GPU."""
        least = min(COMFORTABLE_CONTEXT, self._contexts[0])
        return [context for context in self._contexts if context <= least] or self._contexts

    def _smaller_splits(self, context: int) -> Iterator[tuple[Split, str]]:
        """Yield splits that need less and less of the GPUs."""
        if not self._gpus:
            yield Split(), "there is no GPU in use"
            return
        layers = self._shape.num_layers
        asked = self._wish.num_gpu_layers
        if asked != ALL_LAYERS:
            split = self._spread(self._gpus, min(asked, layers + 1))
            yield split, f"{asked} layers were asked for"
            return
        whole = self._spread(self._gpus, layers + 1)
        if self._shape.has_experts:
            fewest = self._fewest_experts(context, whole)
            if fewest is not None:
                yield fewest, "experts of some layers go to the processor, as the GPU is too small"
        base = replace(whole, num_host_experts=layers) if self._shape.has_experts else whole
        for count in range(layers, 0, -1):
            split = replace(self._spread(self._gpus, count), num_host_experts=base.num_host_experts)
            yield split, f"{count} of {layers + 1} layers fit the GPU"
        yield Split(), "not one layer fits the GPU"

    def _fewest_experts(self, context: int, whole: Split) -> Split | None:
        """Return the split with the fewest layers whose experts are away, None if none fits."""
        low, high = 1, self._shape.num_layers
        if not self._plan(context, replace(whole, num_host_experts=high), "").fits:
            return None
        while low < high:
            middle = (low + high) // 2
            if self._plan(context, replace(whole, num_host_experts=middle), "").fits:
                high = middle
            else:
                low = middle + 1
        return replace(whole, num_host_experts=low)

    def _spread(self, gpus: tuple[Device, ...], count: int) -> Split:
        """Divide ``count`` layers, the output as one of them, by the free memory of the GPUs."""
        free = sum(self._usable(gpu) for gpu in gpus)
        counts, left = [], count
        for number, gpu in enumerate(gpus):
            share = self._usable(gpu) / free if free else 1 / len(gpus)
            own = left if number == len(gpus) - 1 else min(left, round(count * share))
            counts.append(own)
            left -= own
        return Split(gpus=tuple(gpus), counts=tuple(counts))

    def _plan(self, context: int, split: Split, reason: str) -> LoadPlan:
        """Return the plan with room for several contexts in the cache, else for one."""
        shared = max(context, min(CONTEXTS_IN_CACHE * context, SHARED_CELLS))
        plan = self._with_cells(context, shared, split, reason)
        if shared == context or (plan.fits and self._is_modest(plan)):
            return plan
        return self._with_cells(context, context, split, reason)

    def _with_cells(self, context: int, cells: int, split: Split, reason: str) -> LoadPlan:
        wish = self._wish
        setup = Setup(
            num_cells=cells,
            num_slots=wish.num_slots,
            step_tokens=wish.step_tokens,
            cache_type=wish.cache_type,
            has_flash_attention=wish.has_flash_attention,
        )
        shares = place(self._shape, setup, split, self._host, wish.extra_bytes)
        fits = all(self._spare(share) >= 0 for share in shares)
        return LoadPlan(
            num_ctx=context, setup=setup, split=split, shares=shares, fits=fits, reason=reason
        )

    def _is_modest(self, plan: LoadPlan) -> bool:
        """Return whether the cache takes no more than its share; what was asked for always is."""
        if self._wish.num_ctx is not None and plan.setup.num_cells == plan.num_ctx:
            return True
        if plan.num_ctx <= COMFORTABLE_CONTEXT and plan.setup.num_cells == plan.num_ctx:
            return True
        return all(share.cell_bytes <= self._cache_limit(share) for share in plan.shares)

    def _cache_limit(self, share: Share) -> float:
        left = self._usable(share.device) - share.weight_bytes
        if share.device.is_gpu:
            return GPU_SHARE * left
        return min(HOST_SHARE * left, MOST_HOST_CACHE)

    def _spare(self, share: Share) -> int:
        return self._usable(share.device) - share.total_bytes

    def _usable(self, device: Device) -> int:
        reserve = GPU_RESERVE if device.is_gpu else HOST_RESERVE
        return max(0, round((device.free_bytes - reserve) * self._wish.tightness))

    def _is_whole(self, plan: LoadPlan) -> bool:
        """Return whether no GPU that is there does without a layer."""
        layers = sum(plan.split.counts)
        is_full = layers == self._shape.num_layers + 1 and not plan.split.num_host_experts
        return plan.fits and (is_full or not self._gpus)
