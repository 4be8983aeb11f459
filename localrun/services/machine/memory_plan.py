"""Memory plan of a model on this machine, before it is loaded or pulled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.engine.params import LoadOptions
from localrun.errors import ModelNotFoundError, UsageError
from localrun.hardware.architectures import unknown_architecture
from localrun.hardware.projector import buffer_bytes, projector_bytes
from localrun.hardware.reading import read_shape, shape_of
from localrun.names.parse import parse_name
from localrun.services.pulling.plan import is_elsewhere
from localrun.services.pulling.plan import make_plan as make_pull_plan
from localrun.services.pulling.remote_header import remote_header
from localrun.services.runner_models import runner_model
from localrun.services.translating.notes import cannot_load
from localrun.store.manifest import Role
from localrun.supervisor.devices import only_processor
from localrun.supervisor.draft_choice import NO_DRAFT, DraftChoice, add_draft
from localrun.supervisor.draft_plan import rollback_problem
from localrun.supervisor.load_settings import fill_open_values, fill_options
from localrun.supervisor.planning import no_workers, plan_over_workers, plan_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from localrun.gguf.header import Header
    from localrun.hardware.device import Device
    from localrun.hardware.plan import LoadPlan
    from localrun.hardware.shape import ModelShape
    from localrun.names.ref import ModelRef
    from localrun.services.pulling.plan import PlannedFile
    from localrun.services.workspace import Workspace
    from localrun.supervisor.planning import Workers
    from localrun.supervisor.worker_offers import WorkerOffer


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """Memory plan of one model."""

    name: str
    is_here: bool  # else only its header was downloaded
    unknown: str | None  # why llama.cpp cannot load it at all
    shape: ModelShape
    plan: LoadPlan
    projector_bytes: int = 0  # of the plan: the file, and the buffers of its largest media
    away: tuple[str, ...] = ()  # why workers that were asked cannot be used
    draft: DraftChoice = NO_DRAFT


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryQuery:
    """Load options of the user; None leaves a value to the recipe and the plan."""

    num_ctx: int | None = None
    num_parallel: int | None = None
    draft: str | None = None  # a name, "auto" or "none"


def plan_memory(
    workspace: Workspace,
    name: str,
    query: MemoryQuery,
    devices: Callable[[], Sequence[Device]] = only_processor,
    workers: Workers = no_workers,
) -> MemoryPlan:
    """Return the plan of a model; downloads only the header of a model that is not here.

    ``workers`` are asked if the model does not fit the devices.

    Raises:
        ModelNotFoundError: the model is neither here nor at a source.
        NetworkError: no source sends the header.
        IntegrityError: the file is damaged.
    """
    rules = workspace.settings.loads
    num_slots = query.num_parallel or rules.num_parallel
    try:
        model = workspace.models.find_model(name)
    except ModelNotFoundError:
        ref = parse_name(name)
        if not is_elsewhere(workspace, ref):
            raise
        files = make_pull_plan(workspace, ref).files
        header = _header_elsewhere(workspace, ref, files)
        shape = read_shape(header)
        needed_bytes = _projector_elsewhere(workspace, files)
        request = plan_request(
            fill_options(LoadOptions(), rules, shape).options,
            num_ctx=query.num_ctx or rules.num_ctx,
            num_slots=num_slots,
            other_bytes=needed_bytes,
            gpu_reserve_bytes=rules.gpu_reserve_bytes,
        )
        plan, offers = plan_over_workers(shape, request, devices(), workers)
        draft = _draft_elsewhere(workspace, ref, files, shape, query.draft)
        draft, plan = add_draft(draft, shape, request, plan, devices())
        return MemoryPlan(
            name=str(ref),
            is_here=False,
            unknown=cannot_load(header),
            shape=shape,
            plan=plan,
            projector_bytes=needed_bytes,
            away=_away(offers),
            draft=draft,
        )
    order = workspace.drafts.with_draft(runner_model(model), query.draft)
    shape = shape_of(order.shards, order.array_ends)
    values = fill_open_values(order, query.num_ctx, rules, shape)
    request = plan_request(
        values.options,
        num_ctx=values.num_ctx,
        num_slots=num_slots,
        num_gpu_layers=order.num_gpu_layers,
        others=[Path(path) for path, _ in order.adapters],
        projector=order.projector,
        gpu_reserve_bytes=rules.gpu_reserve_bytes,
    )
    plan, offers = plan_over_workers(shape, request, devices(), workers)
    draft, plan = add_draft(workspace.drafts.choose(order), shape, request, plan, devices())
    return MemoryPlan(
        name=order.name,
        is_here=True,
        unknown=unknown_architecture(model.details.family),
        shape=shape,
        plan=plan,
        projector_bytes=0 if order.projector is None else projector_bytes(order.projector),
        away=_away(offers),
        draft=draft,
    )


def _away(offers: Sequence[WorkerOffer]) -> tuple[str, ...]:
    return tuple(offer.error.message for offer in offers if offer.error is not None)


def _header_elsewhere(workspace: Workspace, ref: ModelRef, files: Sequence[PlannedFile]) -> Header:
    shards = [planned for planned in files if planned.role is Role.WEIGHTS]
    if not shards:
        raise UsageError(f"{ref} has no weights", hint=f"localrun pull {ref}")
    return remote_header(workspace.http, shards)


def _draft_elsewhere(
    workspace: Workspace,
    ref: ModelRef,
    files: Sequence[PlannedFile],
    shape: ModelShape,
    name: str | None,
) -> DraftChoice:
    """Return the draft model of a model that is not here."""
    sizes = [each.file.size_bytes or 0 for each in files if each.role is Role.WEIGHTS]
    choice = workspace.drafts.choose_unpulled(str(ref), sum(sizes), name)
    problem = rollback_problem(shape, "the model") if choice.name else ""
    return choice.refused(problem) if problem else choice


def _projector_elsewhere(workspace: Workspace, files: Sequence[PlannedFile]) -> int:
    """Return the memory that the projector of a model needs, 0 without one."""
    planned = next((each for each in files if each.role is Role.PROJECTOR), None)
    if planned is None:
        return 0
    return (planned.file.size_bytes or 0) + buffer_bytes(remote_header(workspace.http, [planned]))
