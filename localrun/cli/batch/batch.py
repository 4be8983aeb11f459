"""``localrun batch``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model, one_of
from localrun.cli.options import ContextOption, DeviceOption

LARGEST_SEED = 2**63 - 1
LARGEST_PARALLEL = 1024
FORMATS = ("openai", "jsonl", "text", "csv", "tsv")


def batch(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str, Argument(help="Name of the model, such as guide.", autocompletion=complete_model)
    ],
    prompts: Annotated[str, Argument(help="File of prompts; - is stdin.")] = "-",
    *,
    output: Annotated[
        str | None,
        Option("--output", "-o", help="File of the answers; without it, stdout and no resuming."),
    ] = None,
    input_format: Annotated[
        str | None,
        Option(
            "--input-format",
            help="openai, jsonl, text, csv or tsv; by default, told by the file.",
            autocompletion=one_of(FORMATS),
        ),
    ] = None,
    template: Annotated[
        str | None,
        Option(help='Prompt with fields of the record in braces: "Classify: {text}".'),
    ] = None,
    column: Annotated[
        str | None, Option(help="Field or column with the prompt, without a template.")
    ] = None,
    system: Annotated[str | None, Option(help="System prompt.")] = None,
    json_schema: Annotated[
        str | None,
        Option("--json-schema", help="JSON Schema of the answers: a file or inline JSON."),
    ] = None,
    field: Annotated[
        list[str] | None,
        Option(help="Field of a JSON answer to write instead of the answer; may be repeated."),
    ] = None,
    as_csv: Annotated[bool, Option("--csv", help="Write CSV; -o FILE.csv does it too.")] = False,
    unordered: Annotated[
        bool, Option("--unordered", help="Write answers as they come, not in the input's order.")
    ] = False,
    resume: Annotated[
        bool,
        Option(
            "--resume/--no-resume",
            help="Go on with an output that was begun, or begin anew and replace it.",
        ),
    ] = True,
    parallel: Annotated[
        str, Option(metavar="N", help="Requests at once; auto: as many as the model computes.")
    ] = "auto",
    limit: Annotated[int | None, Option(min=1, help="Answer only the first N records.")] = None,
    dry_run: Annotated[
        bool,
        Option("--dry-run", help="Answer a few records, and estimate tokens and time of all."),
    ] = False,
    background: Annotated[
        bool, Option("--background", help="Give way to all other requests of the server.")
    ] = False,
    max_tokens: Annotated[
        int | None, Option(min=1, help="Maximum number of tokens of an answer.")
    ] = None,
    temperature: Annotated[
        float | None,
        Option(min=0, max=100, help="Sampling temperature; 0 selects the most likely token."),
    ] = None,
    top_p: Annotated[
        float | None,
        Option(min=0, max=1, help="Nucleus sampling: cumulative probability of the candidates."),
    ] = None,
    seed: Annotated[
        int | None,
        Option(min=0, max=LARGEST_SEED, help="Random seed; the same seed gives the same answer."),
    ] = None,
    ctx: ContextOption = None,
    device: DeviceOption = None,
) -> None:
    """Answer all prompts of a file, as many at once as the model can.

    Each record of the file is a prompt: a line of text, a JSON object, a row of
    CSV or TSV, or a request in the form of OpenAI's Batch API. The same command
    goes on with an output that was interrupted, whatever interrupted it. A
    record that cannot be answered gets an error in its place; then the exit
    code is 9.

    Examples:
    localrun batch guide questions.txt -o answers.jsonl

    localrun batch guide mail.csv --template "Classify: {text}" -o kinds.csv

    cat prompts.txt | localrun batch guide
    """
    import os

    from localrun.cli.batch.job import run_batch
    from localrun.cli.batch.settings import BatchChoice, read_choice
    from localrun.cli.models.pull import find_or_pull
    from localrun.cli.options import parse_context
    from localrun.cli.serving.run_options import with_device
    from localrun.services.workspace import open_workspace

    choice = BatchChoice(
        prompts=prompts,
        output=output,
        input_format=input_format,
        template=template,
        column=column,
        system=system,
        json_schema=json_schema,
        wanted=tuple(field or ()),
        as_csv=as_csv,
        is_ordered=not unordered,
        resumes=resume,
        parallel=parallel,
        limit=limit,
        is_dry=dry_run,
        is_background=background,
        max_tokens=max_tokens,
        sampling={"temperature": temperature, "top_p": top_p, "seed": seed},
        num_ctx=parse_context(ctx),
    )
    settings = read_choice(choice)
    workspace = open_workspace(os.environ)
    server = with_device(workspace.settings, device)
    run_batch(server, find_or_pull(workspace, model), settings)
