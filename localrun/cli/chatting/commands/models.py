"""Commands for models: change the model or its adapters in mid-chat, list and show models.

Invariant: if a model cannot be loaded, the chat keeps the model that it had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.cli.chatting.commands.settings import usage_of
from localrun.cli.chatting.commands.table import ChatCommand
from localrun.cli.chatting.loading import load
from localrun.cli.chatting.prompt.sources import ArgumentKind
from localrun.cli.output import model_size
from localrun.names.adapters import split_adapters

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.cli.chatting.chat import Chat
    from localrun.services.stored_model import StoredModel

LATEST = ":latest"
OFF = ("off", "none")


def change_model(chat: Chat, argument: str) -> None:
    """Go on with another model; the conversation and the settings stay.

    Raises:
        LocalrunError: the model does not exist or does not load.
    """
    if not argument:
        chat.transcript.note(chat.session.settings.request_model)
        return
    name = find(chat, argument).name
    base, adapters = split_adapters(name)
    use_model(chat, base, tuple(map(str, adapters)))


def change_adapters(chat: Chat, argument: str) -> None:
    """Add an adapter, change its scale (0 removes it), or remove all adapters.

    Raises:
        LocalrunError: the adapter does not exist or belongs to another model.
    """
    settings = chat.session.settings
    if not argument:
        used = ", ".join(settings.adapters) or "no adapters"
        chat.transcript.note(f"{used}; /lora NAME@SCALE adds one, /lora off removes all")
        return
    adapters: tuple[str, ...] = ()
    if argument not in OFF:
        _, (new,) = split_adapters(f"{settings.model}+{argument}")
        others = (split_adapters(f"x+{one}")[1][0] for one in settings.adapters)
        kept = tuple(str(one) for one in others if one.name != new.name)
        adapters = (*kept, str(new)) if new.scale else kept
    find(chat, "+".join((settings.model, *adapters)))
    use_model(chat, settings.model, adapters)


def list_models(chat: Chat, argument: str) -> None:
    """List the models of this machine whose names begin with a text."""
    listed = chat.workspace.models.list_models()
    rows = [
        (
            model.name.removesuffix(LATEST),
            model_size(model),
            model.details.parameter_size,
            model.details.quantization_level,
        )
        for model in listed
        if model.name.startswith(argument)
    ]
    chat.transcript.table(("NAME", "SIZE", "PARAMETERS", "QUANTIZATION"), rows)


def show_info(chat: Chat, argument: str) -> None:
    """Show the details of the model."""
    model = _shown(chat, argument)
    details = model.details
    rows = [
        ("model", model.name),
        ("architecture", details.family),
        ("parameters", details.parameter_size),
        ("quantization", details.quantization_level),
        ("context length", str(details.context_length or "")),
        ("size", model_size(model)),
        ("capabilities", ", ".join(details.capabilities)),
    ]
    rows += [("parameter", f"{name} {value}") for name, value in model.recipe.parameters]
    chat.transcript.table((), rows)


def show_modelfile(chat: Chat, argument: str) -> None:
    """Show a Modelfile that makes this model."""
    from localrun.services.creating.remake import recipe_text

    chat.transcript.text(recipe_text(chat.workspace, _shown(chat, argument).name))


def show_parameters(chat: Chat, argument: str) -> None:
    """Show the parameters of the chat and of the model."""
    own = chat.session.settings.sampling.items()
    chat.transcript.note("User defined parameters:" if own else "No user defined parameters.")
    chat.transcript.table((), [(name, str(value)) for name, value in own])
    models = _shown(chat, argument).recipe.parameters
    chat.transcript.note("Model defined parameters:" if models else "No model defined parameters.")
    chat.transcript.table((), [(name, str(value)) for name, value in models])


def show_system(chat: Chat, argument: str) -> None:
    """Show the system prompt: of the chat, else of the model."""
    text = chat.session.settings.system or _shown(chat, argument).recipe.system
    _show(chat, text, "system message")


def show_template(chat: Chat, argument: str) -> None:
    """Show the chat template."""
    model = _shown(chat, argument)
    _show(chat, model.recipe.template or model.chat_template, "prompt template")


def show_license(chat: Chat, argument: str) -> None:
    """Show the licenses."""
    _show(chat, "\n\n".join(_shown(chat, argument).recipe.licenses), "license")


def find(chat: Chat, name: str) -> StoredModel:
    """Return a model that can answer; pull it if it is missing and the user agrees.

    Raises:
        LocalrunError: there is no such model, or it cannot answer.
    """
    from localrun.cli.models.pull import find_or_pull
    from localrun.services.capabilities import check_can_answer

    model = find_or_pull(chat.workspace, name)
    check_can_answer(model)
    return model


def use_model(chat: Chat, model: str, adapters: tuple[str, ...] = ()) -> None:
    """Change the model of the chat, and load it.

    Raises:
        LocalrunError: it does not load; the chat keeps the model that it had.
    """
    settings = chat.session.settings
    before = settings.model, settings.adapters, settings.sampling
    if model != settings.model:  # a draft model fits one vocabulary
        settings.sampling = {n: v for n, v in settings.sampling.items() if n != "draft"}
    settings.model, settings.adapters = model, adapters
    is_loaded = False
    try:
        load(chat)
        is_loaded = True
    finally:
        if not is_loaded:
            settings.model, settings.adapters, settings.sampling = before


def _shown(chat: Chat, argument: str) -> StoredModel:
    return chat.workspace.models.find_model(argument or chat.session.settings.request_model)


def _show(chat: Chat, text: str | None, noun: str) -> None:
    if text:
        chat.transcript.text(text)
    else:
        chat.transcript.note(f"No {noun} was specified for this model.")


def _shows(what: str, about: str, execute: Callable[[Chat, str], None]) -> ChatCommand:
    return ChatCommand(
        name=f"/show {what}", about=about, execute=execute, arguments=(ArgumentKind.MODEL,)
    )


def _refuse_show(chat: Chat, argument: str) -> None:
    usage_of("info, license, modelfile, parameters, system, template")(chat, argument)


COMMANDS = (
    ChatCommand(
        name="/model",
        usage="NAME",
        about="go on with another model",
        execute=change_model,
        arguments=(ArgumentKind.MODEL,),
    ),
    ChatCommand(
        name="/lora",
        usage="NAME@SCALE|off",
        about="apply an adapter, or change its scale",
        execute=change_adapters,
        arguments=(ArgumentKind.ADAPTER,),
    ),
    ChatCommand(
        name="/list", aliases=("/ls",), about="list the models of this machine", execute=list_models
    ),
    _shows("info", "details of the model", show_info),
    _shows("license", "its license", show_license),
    _shows("modelfile", "a Modelfile that makes it", show_modelfile),
    _shows("parameters", "parameters of the chat and of the model", show_parameters),
    _shows("system", "the system prompt", show_system),
    _shows("template", "the chat template", show_template),
    ChatCommand(name="/show", about="list what can be shown", execute=_refuse_show),
)
