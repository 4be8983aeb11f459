"""Load plan: the devices, layers and context of a model, chosen before it is loaded.

    1  everything on one GPU, with the longest context that fits
    2  everything on several GPUs, by layers
    3  experts on the processor, of as few layers as possible
    4  fewer layers on the GPUs
    5  a shorter context, unless the request sets one

A context that is not requested takes at most `GPU_SHARE` of the memory that the weights leave on
a card, or `HOST_SHARE` and `MAX_HOST_CACHE` of the machine's own memory, which other programs and
integrated GPUs need. It is at least `COMFORTABLE_CONTEXT` if that fits, and at least the context
of `TIERS` if that fits beside all layers on cards. A smaller cache type is used only on request.
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

MIB, GIB = 1024**2, 1024**3
GPU_RESERVE = 512 * MIB  # of the driver for a process, and fragmentation
HOST_RESERVE = 256 * MIB
GPU_SHARE, HOST_SHARE = 0.5, 0.125
MAX_HOST_CACHE = 2048 * MIB  # other programs need memory, and not all systems take it by need
COMFORTABLE_CONTEXT = 8192
TIERS = ((23 * GIB, 32768), (47 * GIB, 262144))  # memory of all cards, context
SMALLEST_CONTEXT = 4096
SHARED_CELLS = 16384  # limit for a cache of several full contexts
CONTEXTS_IN_CACHE = 4
ALL_LAYERS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """The requested options of a load; None leaves the choice to the plan."""

    num_ctx: int | None = None
    num_slots: int = 16
    step_tokens: int = 512
    cache_type: str = "f16"
    has_flash_attention: bool = True
    num_gpu_layers: int = ALL_LAYERS
    extra_bytes: int = 0  # adapters, projector, draft
    tightness: float = 1.0  # share of the free memory to use, below 1 after a load failed
    gpu_reserve_bytes: int = 0  # of each card, left to other programs
    stretching: str = ""  # method of extending a requested context, such as YaRN; "" = none


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """A plan; if `fits` is False, the smallest that exists."""

    num_ctx: int
    setup: Setup
    split: Split
    shares: tuple[Share, ...]
    fits: bool
    reason: str  # for the number of layers and the context
    advice: tuple[str, ...] = ()  # ways to make the model fit, or faster
    asked_ctx: int | None = None
    context_note: str = ""  # how the requested context was cut or extended

    @property
    def total_bytes(self) -> int:
        """Return the memory on all devices."""
        return sum(share.total_bytes for share in self.shares)

    @property
    def worker_bytes(self) -> int:
        """Return the memory on other machines."""
        return sum(share.total_bytes for share in self.shares if share.device.worker)

    @property
    def gpu_bytes(self) -> int:
        """Return the memory on GPUs."""
        return sum(share.total_bytes for share in self.shares if share.device.is_gpu)


def make_plan(shape: ModelShape, request: PlanRequest, devices: Sequence[Device]) -> LoadPlan:
    """Return the plan for a model; ``devices`` are the processor and the GPUs in their order."""
    planner = Planner(shape, request, devices)
    plan = next(planner.fitting(), None) or planner.smallest()
    return planner.explained(plan)


def context_steps(longest: int) -> list[int]:
    """Return the contexts to try, the longest first: powers of two, and 1.5 times each.

    None is shorter than `SMALLEST_CONTEXT`, unless ``longest`` is.
    """
    steps = {longest}
    step = SMALLEST_CONTEXT
    while step < longest:
        steps.update(length for length in (step, step + step // 2) if length < longest)
        step *= 2
    return sorted(steps, reverse=True)


class Planner:
    """The search for the plan of one request."""

    def __init__(self, shape: ModelShape, request: PlanRequest, devices: Sequence[Device]) -> None:
        self._shape = shape
        self._request = request
        self._host = next(device for device in devices if device.kind is DeviceKind.CPU)
        wants_gpu = request.num_gpu_layers != 0
        self._gpus = tuple(device for device in devices if device.is_gpu) if wants_gpu else ()
        requested, trained = request.num_ctx, shape.trained_context
        self._tiers: frozenset[int] = frozenset()
        if requested is None:
            self._contexts = context_steps(longest_context(trained, ""))
            self._tiers = self._tier_contexts()
        else:
            self._contexts = [min(requested, longest_context(trained, request.stretching))]

    def fitting(self) -> Iterator[LoadPlan]:
        """Yield plans that fit, the best first."""
        yield from self._whole()
        for context in self._base_contexts():
            for split, reason in self._smaller_splits(context):
                plan = self._plan(context, split, reason)
                if plan.fits:
                    yield plan

    def smallest(self) -> LoadPlan:
        """Return the plan with the least memory, if none fits."""
        requested = self._request.num_gpu_layers
        count = min(requested, self._shape.num_layers + 1) if self._gpus and requested > 0 else 0
        split = self._spread(self._gpus, count) if count else Split()
        return self._plan(self._contexts[-1], split, "it is more than the memory that is free")

    def explained(self, plan: LoadPlan) -> LoadPlan:
        """Return a plan with its advice, and with what became of the requested context."""
        request, trained = self._request, self._shape.trained_context
        return replace(
            plan,
            advice=tuple(self.advice(plan)),
            asked_ctx=request.num_ctx,
            context_note=context_note(request.num_ctx, trained, request.stretching),
        )

    def advice(self, plan: LoadPlan) -> Iterator[str]:
        """Yield ways for the user to make the model fit, or faster."""
        if not plan.fits:
            missing = sum(max(0, -self._spare(share)) for share in plan.shares)
            yield f"{missing / MIB:.0f} MiB more of free memory, or a smaller quantization"
            for context in context_steps(plan.num_ctx)[1:] if self._request.num_ctx else ():
                if self._plan(context, plan.split, "").fits:
                    yield f"--ctx {context}"
                    break
        if self._request.cache_type in {"f16", "f32", "bf16"} and not self._is_whole(plan):
            yield "PARAMETER kv_cache_type q8_0 in a Modelfile halves the cache"

    def _whole(self) -> Iterator[LoadPlan]:
        """Yield plans with all layers on one device, then on several."""
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
        if self._request.num_gpu_layers != ALL_LAYERS:
            return []
        singles: list[tuple[Device, ...]] = [(gpu,) for gpu in self._gpus]
        return [*singles, self._gpus] if len(self._gpus) > 1 else singles

    def _comfortable_contexts(self) -> list[int]:
        least = min(COMFORTABLE_CONTEXT, self._contexts[0])
        return [context for context in self._contexts if context >= least]

    def _tier_contexts(self) -> frozenset[int]:
        """Return the contexts that the cards are large enough for, none of them too long."""
        reserve = self._request.gpu_reserve_bytes
        cards = [gpu for gpu in self._gpus if gpu.kind is DeviceKind.GPU]
        total_bytes = sum(max(0, card.total_bytes - reserve) for card in cards)
        contexts = [context for least_bytes, context in TIERS if total_bytes >= least_bytes]
        return frozenset(min(context, self._contexts[0]) for context in contexts)

    def _base_contexts(self) -> list[int]:
        """Return the contexts for which layers may be moved off the GPU."""
        least = min(COMFORTABLE_CONTEXT, self._contexts[0])
        return [context for context in self._contexts if context <= least] or self._contexts

    def _smaller_splits(self, context: int) -> Iterator[tuple[Split, str]]:
        """Yield splits that need less and less GPU memory."""
        if not self._gpus:
            yield Split(), "there is no GPU in use"
            return
        layers = self._shape.num_layers
        requested = self._request.num_gpu_layers
        if requested != ALL_LAYERS:
            split = self._spread(self._gpus, min(requested, layers + 1))
            yield split, f"{requested} layers were asked for"
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
        """Return the split with the fewest layers of experts on the processor, or None."""
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
        """Divide ``count`` layers, including the output, by the free memory of the GPUs."""
        free = sum(self._usable(gpu) for gpu in gpus)
        counts, left = [], count
        for number, gpu in enumerate(gpus):
            share = self._usable(gpu) / free if free else 1 / len(gpus)
            own = left if number == len(gpus) - 1 else min(left, round(count * share))
            counts.append(own)
            left -= own
        return Split(gpus=tuple(gpus), counts=tuple(counts))

    def _plan(self, context: int, split: Split, reason: str) -> LoadPlan:
        """Return the plan with a cache of several contexts, or of one if that does not fit."""
        num_contexts = min(CONTEXTS_IN_CACHE, self._request.num_slots)
        shared = max(context, min(num_contexts * context, SHARED_CELLS))
        plan = self._with_cells(context, shared, split, reason)
        if shared == context or (plan.fits and self._is_modest(plan)):
            return plan
        return self._with_cells(context, context, split, reason)

    def _with_cells(self, context: int, cells: int, split: Split, reason: str) -> LoadPlan:
        request = self._request
        setup = Setup(
            num_cells=cells,
            num_slots=request.num_slots,
            step_tokens=request.step_tokens,
            cache_type=request.cache_type,
            has_flash_attention=request.has_flash_attention,
        )
        shares = place(self._shape, setup, split, self._host, request.extra_bytes)
        fits = all(self._spare(share) >= 0 for share in shares)
        return LoadPlan(
            num_ctx=context, setup=setup, split=split, shares=shares, fits=fits, reason=reason
        )

    def _is_modest(self, plan: LoadPlan) -> bool:
        """Return whether the cache is within its share, or the context needs no more reason."""
        if self._request.num_ctx is not None and plan.setup.num_cells == plan.num_ctx:
            return True
        is_small = plan.num_ctx <= COMFORTABLE_CONTEXT or plan.num_ctx in self._tiers
        if is_small and plan.setup.num_cells == plan.num_ctx:
            return True
        return all(share.cell_bytes <= self._cache_limit(share) for share in plan.shares)

    def _cache_limit(self, share: Share) -> float:
        left = self._usable(share.device) - share.weight_bytes
        if share.device.kind is DeviceKind.GPU:
            return GPU_SHARE * left
        return min(HOST_SHARE * left, MAX_HOST_CACHE)

    def _spare(self, share: Share) -> int:
        return self._usable(share.device) - share.total_bytes

    def _usable(self, device: Device) -> int:
        reserve = HOST_RESERVE
        if device.worker:
            reserve = HOST_RESERVE if device.is_processor else GPU_RESERVE
        elif device.is_gpu:
            reserve = GPU_RESERVE + self._request.gpu_reserve_bytes
        return max(0, round((device.free_bytes - reserve) * self._request.tightness))

    def _is_whole(self, plan: LoadPlan) -> bool:
        """Return whether all layers are on GPUs, or there is no GPU."""
        layers = sum(plan.split.counts)
        is_full = layers == self._shape.num_layers + 1 and not plan.split.num_host_experts
        return plan.fits and (is_full or not self._gpus)
