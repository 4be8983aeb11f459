"""``localrun show``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson
from localrun.cli.output import Output, human_bytes
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.services.show import ModelFacts, TensorFacts
    from localrun.services.stored_model import StoredModel
    from localrun.supervisor.draft_choice import DraftChoice

LONGEST_SHOWN = 400  # characters of a system prompt or a license


def show(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str, Argument(help="Name of a local model, or a GGUF file.", autocompletion=complete_model)
    ],
    *,
    modelfile: Annotated[
        bool, Option("--modelfile", help="Print a Modelfile that creates this model.")
    ] = False,
    template: Annotated[bool, Option("--template", help="Print the chat template.")] = False,
    system: Annotated[bool, Option("--system", help="Print the system prompt.")] = False,
    parameters: Annotated[bool, Option("--parameters", help="Print the parameters.")] = False,
    license_: Annotated[bool, Option("--license", help="Print the license.")] = False,
    tensors: Annotated[bool, Option("--tensors", help="List the tensors of the weights.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the details of a model.

    Example: localrun show guide
    """
    import os

    from localrun.services.creating.remake import recipe_text
    from localrun.services.show import describe_model, list_tensors
    from localrun.services.workspace import open_workspace

    workspace, output = open_workspace(os.environ), Output(as_json=as_json)
    flags = {
        "modelfile": modelfile,
        "template": template,
        "system": system,
        "parameters": parameters,
        "license": license_,
        "tensors": tensors,
    }
    part = _only([name for name, is_set in flags.items() if is_set])
    if part == "modelfile":
        _print_part(recipe_text(workspace, model), part, output)
        return
    if part == "tensors":
        _show_tensors(list_tensors(workspace, model), output)
        return
    facts = describe_model(workspace, model)
    if part == "parameters":
        _show_parameters(facts, output)
    elif part is not None:
        _print_part(_part(facts, part), part, output)
    elif as_json:
        output.json(_as_json(facts))
    else:
        _show(facts, output)


def _only(parts: list[str]) -> str | None:
    """Return the part to print, None for an overview."""
    if len(parts) > 1:
        flags = " and ".join(f"--{part}" for part in parts)
        raise UsageError(
            f"{flags} exclude each other", hint="localrun show --json MODEL   shows all"
        )
    return parts[0] if parts else None


def _part(facts: ModelFacts, part: str) -> str:
    recipe = facts.model.recipe
    if part == "template":
        return recipe.template or facts.model.chat_template or ""
    return (recipe.system or "") if part == "system" else "\n\n".join(recipe.licenses)


def _print_part(text: str, part: str, output: Output) -> None:
    if output.as_json:
        output.json({part: text})
    else:
        output.text(text)


def _show_parameters(facts: ModelFacts, output: Output) -> None:
    parameters = facts.model.recipe.parameters
    if output.as_json:
        output.json({"parameters": [list(pair) for pair in parameters]})
    else:
        output.table((), [(name, str(value)) for name, value in parameters])


def _show(facts: ModelFacts, output: Output) -> None:
    from localrun.services.quantizing.kept import kept_text

    model, details = facts.model, facts.model.details
    shards = f" in {facts.num_shards} files" if facts.num_shards > 1 else ""
    shared = f", {human_bytes(facts.shared_bytes)} shared" if facts.shared_bytes else ""
    rows: list[tuple[str, str | None]] = [
        ("name", model.name),
        ("digest", model.digest),
        *_origin_rows(facts),
        ("context length", _text(details.context_length)),
        ("context", _context_note(model) or None),
        ("embedding length", _text(facts.embedding_length)),
        ("MTP layers", _mtp_layers(facts)),
        ("draft model", _draft(facts.draft)),
        ("capabilities", ", ".join(details.capabilities)),
        ("template", ", ".join(facts.template_features) or None),
        ("size", None if model.remote else f"{human_bytes(model.size_bytes)}{shards}{shared}"),
        ("from", model.origin),
        ("chosen", facts.choice),
        ("revision", facts.revision),
        ("projector", _projector(facts)),
    ]
    rows += [("kept", f"{kept_text(kept)}: {kept.reason}") for kept in facts.kept_tensors]
    rows += [
        ("adapter", f"{adapter.digest} at {adapter.scale:g}, {human_bytes(adapter.size_bytes)}")
        for adapter in facts.adapters
    ]
    rows += [("parameter", f"{name} {value}") for name, value in model.recipe.parameters]
    rows += [("message", f"{role}: {_short(text)}") for role, text in model.recipe.messages]
    rows.append(("system", _short(model.recipe.system)))
    rows += [("license", _short(text)) for text in model.recipe.licenses]
    output.table((), [(name, value) for name, value in rows if value is not None])


def _mtp_layers(facts: ModelFacts) -> str | None:
    if facts.unused_mtp:
        return f"not used: {facts.unused_mtp}"
    return _text(facts.num_mtp_layers or None)


def _draft(draft: DraftChoice) -> str | None:
    if draft.paths:
        return f"{draft.name} ({draft.source})"
    return f"{draft.name} not used: {draft.reason}" if draft.name and draft.reason else None


def _draft_as_json(draft: DraftChoice) -> dict[str, Any] | None:
    if not draft.name:
        return None
    is_used = bool(draft.paths)
    return {"name": draft.name, "is_used": is_used, "source": draft.source, "reason": draft.reason}


def _projector(facts: ModelFacts) -> str | None:
    if not facts.has_projector:
        return None
    types = ", ".join(dict.fromkeys(facts.projector_types))
    return f"yes, {types}: quantizing the model leaves it as it is" if types else "yes"


def _origin_rows(facts: ModelFacts) -> list[tuple[str, str | None]]:
    """Return the rows about the weights, or about the engine that answers in their place."""
    details, remote = facts.model.details, facts.model.remote
    if remote is None:
        return [
            ("architecture", _architecture(details.family)),
            ("layout", facts.layout),
            ("parameters", details.parameter_size),
            ("quantization", details.quantization_level),
        ]
    return [
        *(("remote", f"{address.model} at {address.url}") for address in remote.addresses),
        ("engine", remote.engine.value),
        ("key", remote.key_reference),
    ]


def _architecture(name: str) -> str:
    from localrun.hardware.architectures import unknown_architecture

    note = unknown_architecture(name)
    return name if note is None else f"{name}: {note}"


def _show_tensors(tensors: tuple[TensorFacts, ...], output: Output) -> None:
    rows = [
        (tensor.name, tensor.type_name, " x ".join(map(str, tensor.sizes))) for tensor in tensors
    ]
    if output.as_json:
        output.json([asdict(tensor) for tensor in tensors])
    else:
        output.table(("NAME", "TYPE", "SHAPE"), rows)


def _as_json(facts: ModelFacts) -> dict[str, Any]:
    model, details = facts.model, facts.model.details
    return {
        "name": model.name,
        "digest": model.digest,
        "modified": model.modified.isoformat(),
        "architecture": details.family,
        "layout": facts.layout,
        "published": facts.published,
        "parameter_size": details.parameter_size,
        "quantization": details.quantization_level,
        "context_length": details.context_length,
        "context_note": _context_note(model),
        "embedding_length": facts.embedding_length,
        "mtp_layers": facts.num_mtp_layers,
        "unused_mtp_layers": facts.unused_mtp or None,
        "draft": _draft_as_json(facts.draft),
        "capabilities": list(details.capabilities),
        "template": model.chat_template,
        "template_features": list(facts.template_features),
        "size_bytes": model.size_bytes,
        "shared_bytes": facts.shared_bytes,
        "num_shards": facts.num_shards,
        "has_projector": facts.has_projector,
        "kept_tensors": [asdict(kept) for kept in facts.kept_tensors],
        "origin": model.origin,
        "choice": facts.choice,
        "revision": facts.revision,
        "adapters": [
            {
                "digest": adapter.digest,
                "scale": adapter.scale,
                "size_bytes": adapter.size_bytes,
            }
            for adapter in facts.adapters
        ],
        "parameters": [list(pair) for pair in model.recipe.parameters],
        "messages": [{"role": role, "content": text} for role, text in model.recipe.messages],
        "system": model.recipe.system,
        "licenses": list(model.recipe.licenses),
        "remote": None if model.remote is None else model.remote.to_json(),
    }


def _short(text: str | None) -> str | None:
    if text is None:
        return None
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}..."


def _context_note(model: StoredModel) -> str:
    """Return a note if the context size of the recipe is not used as it is."""
    if model.remote is not None:
        return ""
    from localrun.hardware.shape import context_note
    from localrun.services.runner_models import runner_model

    order = runner_model(model)
    trained = model.details.context_length
    return context_note(order.num_ctx, trained, order.options.stretching)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
