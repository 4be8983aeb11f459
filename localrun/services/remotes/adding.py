"""Remote models: add one by its addresses, after asking the engines what they have."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localrun.errors import ModelNotFoundError, UsageError
from localrun.modelfile.recipe import Recipe
from localrun.remote.keys import is_open_to_others, read_key
from localrun.remote.model import (
    DEFAULT_CAPABILITIES,
    MAX_ADDRESSES,
    EngineKind,
    RemoteModel,
    checked_variable,
    remote_address,
)
from localrun.remote.source import format_sources
from localrun.services.creating.create import create_model
from localrun.services.remotes.stored import short_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.names.ref import ModelRef
    from localrun.remote.discovery import AddressReport, OfferedModel
    from localrun.services.creating.create import Created
    from localrun.services.workspace import Workspace

UNKNOWN_MODEL = "?"  # until the engine has listed its models
MAX_SHOWN = 12
BY_NAME = {"rerank": "rerank", "embed": "embedding"}  # words in ids of models


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """What the user states about a remote model; None is asked of the engine, or unknown."""

    model: str | None = None
    key_file: str | None = None
    key_env: str | None = None
    engine: EngineKind | None = None
    capabilities: tuple[str, ...] | None = None
    context_length: int | None = None
    asks_engines: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedRemote:
    """Remote model that was added, and what the user should know about it."""

    created: Created
    remote: RemoteModel
    notes: tuple[str, ...] = field(default=())


def add_remote(
    workspace: Workspace, ref: ModelRef, urls: Sequence[str], options: RemoteOptions
) -> AddedRemote:
    """Add a remote model; an engine that does not answer is a note if the model's id is given.

    Raises:
        UsageError: an address, the key or the name cannot be used, or the id is not known.
        StorageError: the store cannot be written.
    """
    _refuse_local(workspace, ref)
    if not 0 < len(urls) <= MAX_ADDRESSES:
        raise UsageError(f"a remote model has 1 to {MAX_ADDRESSES} addresses")
    stated = _stated(urls, options)
    notes = _notes_on_key(workspace, stated)
    reports: list[AddressReport] = []
    if options.asks_engines:
        reports = _asked(workspace, str(ref), stated)
        notes += [f"{report.error.message}" for report in reports if report.error is not None]
    remote = _completed(stated, options, reports)
    notes += _notes_on_models(remote, reports)
    recipe = Recipe(sources=format_sources(remote))
    created = create_model(workspace, ref, recipe, folder=Path.cwd())
    return AddedRemote(created=created, remote=remote, notes=tuple(notes))


def _refuse_local(workspace: Workspace, ref: ModelRef) -> None:
    """Refuse a name that has weights here: no name changes from local to remote unasked."""
    try:
        known = workspace.models.find_model(str(ref))
    except ModelNotFoundError:
        return
    if known.remote is None:
        raise UsageError(
            f"{known.name} is a model with weights on this machine",
            hint=f"choose another name, or first: localrun rm {short_name(known.name)}",
        )


def _stated(urls: Sequence[str], options: RemoteOptions) -> RemoteModel:
    """Return the remote model as far as the user states it."""
    if options.key_file is not None and options.key_env is not None:
        raise UsageError("--key-file and --key-env exclude each other")
    model = options.model or UNKNOWN_MODEL
    key_env = None if options.key_env is None else checked_variable(options.key_env)
    return RemoteModel(
        addresses=tuple(dict.fromkeys(remote_address(url, model) for url in urls)),
        key_file=options.key_file and str(Path(options.key_file).expanduser().absolute()),
        key_env=key_env,
        engine=options.engine or EngineKind.COMPATIBLE,
        capabilities=options.capabilities or DEFAULT_CAPABILITIES,
        context_length=options.context_length,
    )


def _notes_on_key(workspace: Workspace, model: RemoteModel) -> list[str]:
    """Return what is wrong with the key but no error; a key file must be readable."""
    notes: list[str] = []
    if model.key_file is not None:
        read_key(model, workspace.environ)
    elif model.key_env is not None and not workspace.environ.get(model.key_env):
        notes.append(f"the variable {model.key_env} is not set here; the server needs it")
    if is_open_to_others(model):
        notes.append(f"other users can read {model.key_file}; chmod 600 closes it")
    notes += [
        f"the key goes to {address.host} unencrypted; https would hide it"
        for address in model.addresses
        if model.key_reference and not address.is_encrypted and not address.is_loopback
    ]
    return notes


def _asked(workspace: Workspace, name: str, model: RemoteModel) -> list[AddressReport]:
    from localrun.remote.discovery import ask_addresses  # imports the HTTP client

    has_key = model.key_env is None or bool(workspace.environ.get(model.key_env))
    key = read_key(model, workspace.environ) if has_key else None
    return ask_addresses(
        name,
        model.addresses,
        key,
        workspace.environ,
        is_offline=workspace.settings.is_offline,
    )


def _completed(
    stated: RemoteModel, options: RemoteOptions, reports: Sequence[AddressReport]
) -> RemoteModel:
    """Return the remote model with what the engines say about it."""
    model = options.model or _only_model(stated, reports)
    addresses = tuple(replace(address, model=model) for address in stated.addresses)
    offered = [each for report in reports for each in report.models if each.id == model]
    said = next((each.capabilities for each in offered if each.capabilities), None)
    capabilities = options.capabilities or said or _capabilities_by_name(model)
    return replace(
        stated,
        addresses=addresses,
        engine=options.engine or _engine(offered),
        capabilities=capabilities,
        context_length=options.context_length or _context(offered),
    )


def _only_model(stated: RemoteModel, reports: Sequence[AddressReport]) -> str:
    """Return the id of the only model that the engines have.

    Raises:
        UsageError: there are several, or none is known.
        LocalrunError: no engine answers.
    """
    ids = list(dict.fromkeys(model.id for report in reports for model in report.models))
    if len(ids) == 1:
        return ids[0]
    errors = [report.error for report in reports if report.error is not None]
    if not ids and errors:
        raise errors[0]
    if not ids:
        raise UsageError(
            f"the id of the model at {stated.first.host} is not known", hint="--model ID   names it"
        )
    shown = ", ".join(ids[:MAX_SHOWN]) + (", ..." if len(ids) > MAX_SHOWN else "")
    raise UsageError(
        f"{stated.first.host} has {len(ids)} models: {shown}", hint=f"--model {ids[0]}"
    )


def _notes_on_models(remote: RemoteModel, reports: Sequence[AddressReport]) -> list[str]:
    wanted = remote.first.model
    return [
        f"{report.address.host} does not list {wanted}"
        for report in reports
        if report.error is None and replace(report, address=remote.first).offered is None
    ]


def _engine(offered: Sequence[OfferedModel]) -> EngineKind:
    kinds = {model.engine for model in offered}
    return kinds.pop() if len(kinds) == 1 else EngineKind.COMPATIBLE


def _context(offered: Sequence[OfferedModel]) -> int | None:
    lengths = [model.context_length for model in offered if model.context_length is not None]
    return min(lengths, default=None)


def _capabilities_by_name(model: str) -> tuple[str, ...]:
    for word, capability in BY_NAME.items():
        if word in model.lower():
            return (capability,)
    return DEFAULT_CAPABILITIES
