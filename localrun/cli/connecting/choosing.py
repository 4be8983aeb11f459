"""Model of a launch: the one that is named or remembered, the best that is here, or one to pull."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.cli.fit import memory_bytes
from localrun.cli.output import Output, confirms, human_bytes, is_terminal
from localrun.errors import ModelNotFoundError, UsageError
from localrun.integrations.target import AGENT_CONTEXT
from localrun.services.connecting.choice import MOST_PLANS, suitable_models
from localrun.services.connecting.remembered import remembered_model
from localrun.services.connecting.served import (
    ContextPlanner,
    ServedModel,
    find_served,
    served_models,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.cli.connecting.starting import LaunchOptions
    from localrun.client.api import LocalrunClient
    from localrun.integrations.tool import Integration
    from localrun.registry.catalog import CatalogEntry
    from localrun.runner.messages import JsonObject
    from localrun.services.workspace import Workspace

AGENT_FAMILIES = ("qwen3-coder", "gpt-oss", "qwen3.5", "devstral", "qwen3")  # call tools
PULLED_SHARE = 0.65  # of the memory; the context of an agent takes the rest
KEEP_ALIVE = "15m"  # renewed while the tool runs


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentModel:
    """A model and the context that it is loaded with."""

    model: ServedModel
    num_ctx: int

    def load_body(self) -> JsonObject:
        """Return the body of the load request, which is repeated while the tool runs."""
        return {"model": self.model.name, "num_ctx": self.num_ctx, "keep_alive": KEEP_ALIVE}


def choose_agent_model(
    tool: Integration, client: LocalrunClient, workspace: Workspace, options: LaunchOptions
) -> AgentModel:
    """Return the model for a tool; pulls one if the user agrees.

    Raises:
        ModelNotFoundError: there is none; the hint is the command that pulls one.
        UsageError: the wanted model cannot do what the tool needs.
    """
    planner, context = ContextPlanner(workspace), wanted_context(tool, options)
    models = served_models(client)
    if options.model is not None:
        return _named(tool, client, workspace, options, planner)
    remembered = _remembered(tool, models)
    suitable = suitable_models(models, context, needs_tools=tool.needs_tools)
    for model in [*remembered, *suitable[:MOST_PLANS]]:
        if _problem(tool, model, context) is None and planner.plan(model, context).fits:
            return _with_context(model, options, context, planner)
    is_sure = options.is_sure and not options.is_dry
    name = _offered(tool, context, workspace, is_sure=is_sure)
    _pull(workspace, name)
    model = find_served(served_models(client), name)
    return _with_context(model, options, context, planner)


def wanted_context(tool: Integration, options: LaunchOptions) -> int:
    """Return the tokens that a tool needs: at least `AGENT_CONTEXT` for an agent."""
    least = max(tool.context, AGENT_CONTEXT) if tool.needs_tools else tool.context
    return options.num_ctx or least


def _named(
    tool: Integration,
    client: LocalrunClient,
    workspace: Workspace,
    options: LaunchOptions,
    planner: ContextPlanner,
) -> AgentModel:
    """Return the model that the user named; a problem with it is a warning, not an error."""
    name, context = options.model or "", wanted_context(tool, options)
    try:
        model = find_served(served_models(client), name)
    except ModelNotFoundError:
        is_sure = options.is_sure and not options.is_dry
        _check_pull(name, f"{name} is not on this machine", is_sure=is_sure)
        _pull(workspace, name)
        model = find_served(served_models(client), name)
    if "completion" not in model.capabilities:
        raise UsageError(f"{model.name} cannot answer", hint="localrun list")
    problem = _problem(tool, model, context)
    if problem is not None:
        Output().note(f"warning: {problem}")
    return _with_context(model, options, context, planner)


def _remembered(tool: Integration, models: Sequence[ServedModel]) -> list[ServedModel]:
    name = remembered_model(tool.name)
    if name is None:
        return []
    return [model for model in models if model.name in {name, f"{name}:latest"}]


def _problem(tool: Integration, model: ServedModel, context: int) -> str | None:
    """Return why a model does not suit a tool."""
    if tool.needs_tools and "tools" not in model.capabilities:
        return f"{model.name} does not call tools, which {tool.title} needs"
    if model.trained_context < context:
        trained = model.trained_context
        return f"{model.name} was trained for {trained} tokens, and {tool.title} needs {context}"
    return None


def _with_context(
    model: ServedModel, options: LaunchOptions, context: int, planner: ContextPlanner
) -> AgentModel:
    """Return the model with the named context, else with its default one if that is longer."""
    needed = min(context, model.trained_context or context)
    default = planner.plan(model)
    is_longer = options.num_ctx is None and default.is_known and default.context > needed
    return AgentModel(model=model, num_ctx=default.context if is_longer else needed)


def _offered(
    tool: Integration,
    context: int,
    workspace: Workspace,
    *,
    is_sure: bool,
) -> str:
    """Return the name of a model to pull that the user agrees to.

    Raises:
        ModelNotFoundError: the user declines, cannot be asked, or nothing fits.
    """
    needs = "calls tools and has" if tool.needs_tools else "has"
    reason = f"no model here {needs} a context of {context} tokens that fits into the memory"
    entry = pullable(workspace.catalog.entries(), memory_bytes())
    if entry is None:
        raise ModelNotFoundError(
            reason, hint=f"localrun launch {tool.name} --model NAME --ctx 8k   uses any model"
        )
    name = f"{entry.name}:{entry.tag}"
    if not is_sure and is_terminal(sys.stdin):
        Output().note(f"{reason}.")
    _check_pull(name, reason, entry, is_sure=is_sure)
    return name


def pullable(entries: Sequence[CatalogEntry], memory: int) -> CatalogEntry | None:
    """Return the largest model of the catalog that calls tools and fits with a long context."""
    known = {family: place for place, family in enumerate(AGENT_FAMILIES)}
    fitting = [
        entry
        for entry in entries
        if entry.name in known and entry.size_bytes <= memory * PULLED_SHARE
    ]
    return max(fitting, key=lambda entry: (entry.size_bytes, -known[entry.name]), default=None)


def _check_pull(
    name: str, reason: str, entry: CatalogEntry | None = None, *, is_sure: bool
) -> None:
    size = f" ({human_bytes(entry.size_bytes)})" if entry is not None else ""
    can_ask = is_terminal(sys.stdin) and is_terminal(sys.stderr)
    if is_sure or (can_ask and confirms(f"Pull {name}{size}?", default=True)):
        return
    raise ModelNotFoundError(reason, hint=f"localrun pull {name}{size and f'   {size.strip()}'}")


def _pull(workspace: Workspace, name: str) -> None:
    from localrun.cli.progress import shown_progress
    from localrun.names.parse import parse_name
    from localrun.services.pulling.plan import make_plan
    from localrun.services.pulling.pull import PullOptions, run_plan

    output = Output()
    output.note(f"pulling {name}")
    plan = make_plan(workspace, parse_name(name))
    with shown_progress(output) as report:
        run_plan(workspace, plan, PullOptions(), report)
