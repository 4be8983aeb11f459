"""``localrun run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model, one_of
from localrun.cli.options import (
    AsJson,
    ContextOption,
    DeviceOption,
    DraftOption,
    McpOption,
    ToolsOption,
)

if TYPE_CHECKING:
    from localrun.client.api import LocalrunClient

LARGEST_SEED = 2**63 - 1


def run(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str | None,
        Argument(help="Name of the model, such as guide.", autocompletion=complete_model),
    ] = None,
    prompt: Annotated[
        list[str] | None, Argument(help="The prompt; without one, an interactive chat starts.")
    ] = None,
    *,
    system: Annotated[str | None, Option(help="System prompt.")] = None,
    temperature: Annotated[
        float | None,
        Option(min=0, max=100, help="Sampling temperature; 0 selects the most likely token."),
    ] = None,
    top_p: Annotated[
        float | None,
        Option(min=0, max=1, help="Nucleus sampling: cumulative probability of the candidates."),
    ] = None,
    top_k: Annotated[
        int | None, Option(min=0, help="Number of most likely tokens to sample from; 0: all.")
    ] = None,
    min_p: Annotated[
        float | None,
        Option(min=0, max=1, help="Minimum probability of a token, relative to the most likely."),
    ] = None,
    seed: Annotated[
        int | None,
        Option(min=0, max=LARGEST_SEED, help="Random seed; the same seed gives the same answer."),
    ] = None,
    num_predict: Annotated[
        int | None, Option(min=1, help="Maximum number of tokens to generate.")
    ] = None,
    ctx: ContextOption = None,
    stop: Annotated[
        list[str] | None, Option(help="Stop string, which ends the answer; may be repeated.")
    ] = None,
    output_format: Annotated[
        str | None,
        Option(
            "--format",
            help='Structured output: "json", or a JSON Schema (a file or inline JSON).',
            autocompletion=one_of(("json",)),
        ),
    ] = None,
    think: Annotated[
        str | None,
        Option(
            "--think",
            metavar="[LEVEL]",
            help="Enable reasoning; LEVEL: low, medium, high, max. --no-think: disable.",
        ),
    ] = None,
    file: Annotated[
        list[str] | None, Option(help="Text or PDF file to put before the prompt; may be repeated.")
    ] = None,
    image: Annotated[
        list[str] | None,
        Option(help="Image, if the model sees: a file, a pattern, or - for stdin; repeatable."),
    ] = None,
    audio: Annotated[
        list[str] | None, Option(help="Sound, if the model hears; like --image.")
    ] = None,
    output: Annotated[
        str | None,
        Option("--output", "-o", help="Write the answer to a file, whole or not at all."),
    ] = None,
    dimensions: Annotated[
        int | None, Option(min=1, help="Dimensions of the vector of an embedding model.")
    ] = None,
    truncate: Annotated[
        bool,
        Option("--truncate", help="Embed the beginning of a text that exceeds the context."),
    ] = False,
    keep_alive: Annotated[
        str | None, Option(help="Idle time before the model is unloaded: 10m, 1h, 0, -1 (never).")
    ] = None,
    device: DeviceOption = None,
    draft: DraftOption = None,
    verbose: Annotated[
        bool, Option("--verbose", help="Print timings and token counts on stderr.")
    ] = False,
    no_stream: Annotated[
        bool, Option("--no-stream", help="Print the answer only when it is complete.")
    ] = False,
    as_json: AsJson = False,
    plain: Annotated[
        bool, Option("--plain", help="Chat without colors, folds and redraws, line by line.")
    ] = False,
    hide_thinking: Annotated[
        bool, Option("--hide-thinking", help="Do not show the reasoning of the model.")
    ] = False,
    is_last: Annotated[
        bool, Option("--continue", "-c", help="Go on with the last chat, with its model.")
    ] = False,
    chat: Annotated[
        str | None, Option(metavar="ID", help="Go on with a kept chat (localrun chats list).")
    ] = None,
    no_save: Annotated[bool, Option("--no-save", help="Do not keep the chat.")] = False,
    no_compact: Annotated[
        bool, Option("--no-compact", help="Never compact older turns into a summary.")
    ] = False,
    no_word_wrap: Annotated[
        bool, Option("--nowordwrap", help="Do not wrap the lines of a chat at words.")
    ] = False,
    insecure: Annotated[
        bool, Option("--insecure", help="Use plain HTTP if the model is pulled from a registry.")
    ] = False,
    tools: ToolsOption = None,
    mcp: McpOption = None,
) -> None:
    """Run a model: answer one prompt, or chat interactively.

    With a prompt, or text from a pipe, localrun prints the answer and exits.
    Without a prompt it starts a chat in the terminal. A background server runs
    the model; it starts if no server is running and exits when it is idle.
    In the prompt, - is the text of the pipe, and @FILE a text file. An
    embedding model prints the vector of the prompt.

    Examples:
    localrun run guide "What can you do?"

    cat notes.txt | localrun run guide "Summarize:"

    localrun run MODEL "What is this?" --image photo.jpg

    localrun run guide --continue
    """
    import os
    import sys

    from localrun.cli.models.pull import find_or_pull
    from localrun.cli.options import check_keep_alive, parse_context
    from localrun.cli.prompt import as_text
    from localrun.cli.serving.answer import ChatOptions, answer_once
    from localrun.cli.serving.result_file import check_output
    from localrun.cli.serving.run_input import RunInput
    from localrun.cli.serving.run_options import (
        check_draft,
        check_model,
        check_use,
        find_resumed,
        model_name,
        read_format,
        read_think,
        with_device,
    )
    from localrun.cli.serving.tool_options import read_tools
    from localrun.client.launch import FirstRequest, ensure_server
    from localrun.services.workspace import open_workspace
    from localrun.warm.own_terminal import claim_terminal

    media = (*(image or ()), *(audio or ()))
    given = RunInput(words=prompt or (), files=file or (), images=media, stdin=sys.stdin)
    if given.is_chat:
        claim_terminal()  # for the line editor
    check_use(
        is_chat=given.is_chat,
        of_chat={"--continue": is_last, "--chat": chat},
        of_prompt={"--output": output, "--json": as_json},
    )
    wanted_format, wanted_thinking = read_format(output_format), read_think(think)
    check_keep_alive(keep_alive)
    num_ctx, output_file = parse_context(ctx), check_output(output)
    workspace = open_workspace(os.environ)
    settings = with_device(workspace.settings, device)
    resumed = find_resumed(chat, is_last=is_last)
    stored = find_or_pull(workspace, model_name(model, resumed), is_insecure=insecure)
    capabilities = stored.details.capabilities
    embeds = "embedding" in capabilities and not given.is_chat
    check_model(
        stored,
        embeds=embeds,
        of_text={
            "--file": file,
            "--image": image,
            "--audio": audio,
            "--system": system,
            "--format": output_format,
            "--think": think,
            "--draft": draft,
        },
        of_vectors={"--dimensions": dimensions, "--truncate": truncate},
    )
    tool_configuration = read_tools(tools, mcp, settings, has_prompt=not given.is_chat)
    sampling = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "seed": seed,
        "num_predict": num_predict,
        "num_ctx": num_ctx,
        "draft": check_draft(workspace, stored, draft),
        "stop": [as_text(text, "--stop") for text in stop or ()] or None,
    }
    chat_options = ChatOptions(
        model=stored.name,
        sampling={name: value for name, value in sampling.items() if value is not None},
        system=None if system is None else as_text(system, "--system"),
        output_format=wanted_format,
        think=wanted_thinking,
        keep_alive=keep_alive,
        verbose=verbose,
        stream=not no_stream,
        as_json=as_json,
        hides_thinking=hide_thinking,
        output_file=output_file,
    )

    first = FirstRequest(
        model=stored.name,
        num_ctx=num_ctx,
        files=(*stored.shards, *stored.draft),
        draft=chat_options.sampling.get("draft"),
    )

    def connect() -> LocalrunClient:
        return ensure_server(settings, first)

    def note_context() -> None:
        if num_ctx is None and sys.stdout.isatty():
            from localrun.cli.serving.context_notice import note_small_context

            note_small_context(settings, stored)

    if embeds:
        from localrun.cli.serving.vectors import embed_once

        embed_once(connect, chat_options, given.text(), dimensions, truncates=truncate)
    elif given.is_chat:
        from localrun.cli.chatting.start import ChatStart, start_chat
        from localrun.cli.version import warn_of_other_version

        start = ChatStart(
            is_plain=plain,
            hides_thinking=hide_thinking,
            wraps_words=not no_word_wrap,
            is_kept=not no_save,
            compacts=not no_compact,
            chat_id=resumed.id if resumed is not None else None,
            tools=tool_configuration,
        )
        warn_of_other_version(connect())
        start_chat(connect, chat_options, workspace, start, on_open=note_context)
    else:
        answer_once(connect, chat_options, given.message(capabilities), given.media_names)
        note_context()
