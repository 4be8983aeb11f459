"""``localrun run``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.options import AsJson, AskedDevice

LARGEST_SEED = 2**63 - 1


def run(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[str, Argument(help="The model, such as guide.")],
    prompt: Annotated[
        list[str] | None, Argument(help="What to ask; without it a chat opens.")
    ] = None,
    *,
    system: Annotated[str | None, Option(help="Who the model is to be.")] = None,
    temperature: Annotated[
        float | None, Option(min=0, max=100, help="0 is exact, 0.8 usual, more is livelier.")
    ] = None,
    top_p: Annotated[
        float | None, Option(min=0, max=1, help="Draw from the likeliest tokens of this share.")
    ] = None,
    top_k: Annotated[
        int | None, Option(min=0, help="Draw from this many tokens; 0 is all.")
    ] = None,
    min_p: Annotated[
        float | None,
        Option(min=0, max=1, help="Leave out tokens less likely than this share of the best."),
    ] = None,
    seed: Annotated[
        int | None, Option(min=0, max=LARGEST_SEED, help="The same seed gives the same answer.")
    ] = None,
    num_predict: Annotated[int | None, Option(min=1, help="At most this many tokens.")] = None,
    ctx: Annotated[int | None, Option(min=1, help="Size of the context in tokens.")] = None,
    stop: Annotated[
        list[str] | None, Option(help="End the answer before this text; may be repeated.")
    ] = None,
    output_format: Annotated[
        str | None,
        Option(
            "--format",
            help='"json", or a JSON Schema that the answer must obey: a file, or the JSON itself.',
        ),
    ] = None,
    think: Annotated[
        bool | None, Option("--think/--no-think", help="Let the model think first, if it can.")
    ] = None,
    keep_alive: Annotated[
        str | None, Option(help="How long the model stays loaded: 10m, 1h, 0, -1 (for ever).")
    ] = None,
    device: AskedDevice = None,
    verbose: Annotated[
        bool, Option("--verbose", help="Print durations, counts and rates on stderr.")
    ] = False,
    no_stream: Annotated[
        bool, Option("--no-stream", help="Print the answer when it is complete.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a model, or chat with it.

    With a prompt, or text from a pipe, the answer is printed; without, a chat
    opens in the terminal. The model is served by a background server, which is
    started if there is none and leaves when it is idle.

    Examples:
    localrun run guide "What can you do?"

    cat notes.txt | localrun run guide "Sum this up:"
    """
    import os
    import sys

    from localrun.cli.models.pull import find_or_pull
    from localrun.cli.options import check_keep_alive
    from localrun.cli.prompt import as_text, read_prompt
    from localrun.cli.serving.answer import Asking, answer_once
    from localrun.cli.serving.chat import chat
    from localrun.cli.serving.device import with_device
    from localrun.cli.serving.format import read_format
    from localrun.cli.version import warn_of_other_version
    from localrun.client.launch import ensure_server
    from localrun.services.capabilities import check_can_answer
    from localrun.services.workspace import open_workspace

    wanted_format = read_format(output_format)
    check_keep_alive(keep_alive)
    workspace = open_workspace(os.environ)
    settings = with_device(workspace.settings, device)
    stored = find_or_pull(workspace, model)
    check_can_answer(stored)
    question = read_prompt(prompt or [], sys.stdin)
    options = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "seed": seed,
        "num_predict": num_predict,
        "num_ctx": ctx,
        "stop": [as_text(text, "--stop") for text in stop or ()] or None,
    }
    asking = Asking(
        model=stored.name,
        options={name: value for name, value in options.items() if value is not None},
        system=None if system is None else as_text(system, "--system"),
        output_format=wanted_format,
        think=think,
        keep_alive=keep_alive,
        verbose=verbose,
        stream=not no_stream,
        as_json=as_json,
    )
    client = ensure_server(settings)
    warn_of_other_version(client)
    if question is None:
        chat(lambda: ensure_server(settings), asking)
    else:
        answer_once(client, asking, question)
