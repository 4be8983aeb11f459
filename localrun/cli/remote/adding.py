"""``localrun remote add``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import one_of
from localrun.cli.options import AsJson
from localrun.cli.output import Output

ENGINES = ("compatible", "openai", "vllm", "sglang", "tgi", "llama-server", "localrun")


def remote_add(  # noqa: PLR0913 - one parameter a flag
    name: Annotated[str, Argument(help="Name of the model here.")],
    urls: Annotated[
        list[str],
        Argument(metavar="URL", help="Base of the engine's API; several share the requests."),
    ],
    *,
    model: Annotated[
        str | None,
        Option(
            "--model", metavar="ID", help="The engine's id of the model; default: its only one."
        ),
    ] = None,
    key_file: Annotated[
        str | None, Option(metavar="FILE", help="File with the engine's key in its first line.")
    ] = None,
    key_env: Annotated[
        str | None, Option(metavar="NAME", help="Variable with the key, where the server starts.")
    ] = None,
    engine: Annotated[
        str | None,
        Option(
            help=f"Which fields requests may have: {', '.join(ENGINES)}. Default: it is asked.",
            autocompletion=one_of(ENGINES),
        ),
    ] = None,
    capability: Annotated[
        list[str] | None,
        Option(help="What the model does, for clients; repeatable. Default: completion, tools."),
    ] = None,
    ctx: Annotated[
        str | None, Option("--ctx", metavar="N", help="Context length in tokens, such as 32k.")
    ] = None,
    no_check: Annotated[bool, Option("--no-check", help="Do not ask the engine.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a model that another engine answers: vLLM, SGLang, TGI, llama-server, localrun, others.

    It has no weights here; all APIs, the chat and batches use it like any model.
    The key stays in its file or variable, and goes to the named addresses alone.

    Examples:
    localrun remote add big https://gpu1:8000/v1 --model Qwen/Qwen3-32B --key-file gpu1.key

    localrun remote add pool http://10.0.0.7:8000/v1 http://10.0.0.8:8000/v1
    """
    import os

    from localrun.cli.options import parse_context
    from localrun.names.parse import parse_name
    from localrun.remote.model import checked_capabilities
    from localrun.remote.source import parse_engine
    from localrun.services.remotes.adding import RemoteOptions, add_remote
    from localrun.services.remotes.stored import short_name
    from localrun.services.workspace import open_workspace

    options = RemoteOptions(
        model=model,
        key_file=key_file,
        key_env=key_env,
        engine=None if engine is None else parse_engine(engine),
        capabilities=checked_capabilities(capability) if capability else None,
        context_length=parse_context(ctx),
        asks_engines=not no_check,
    )
    added = add_remote(open_workspace(os.environ), parse_name(name), urls, options)
    output = Output(as_json=as_json)
    if as_json:
        output.json(
            {
                "name": added.created.name,
                "manifest": added.created.manifest,
                "is_changed": added.created.is_changed,
                "remote": added.remote.to_json(),
                "notes": list(added.notes),
            }
        )
        return
    for note in added.notes:
        output.note(f"note: {note}")
    short = short_name(added.created.name)
    hosts = ", ".join(address.host for address in added.remote.addresses)
    output.line(f"{short} is {added.remote.first.model} at {hosts} ({added.remote.engine})")
    output.line(f"try it: localrun run {short}")
