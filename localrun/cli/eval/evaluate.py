"""``localrun eval``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, DeviceOption

LARGEST_SEED = 2**63 - 1


def evaluate_command(  # noqa: PLR0913 - one parameter a flag
    model: Annotated[
        str, Argument(help="Name of the model, such as guide.", autocompletion=complete_model)
    ],
    tasks: Annotated[str, Argument(help="File of tasks, one JSON object a line; - is stdin.")],
    *,
    against: Annotated[
        str | None,
        Option(help="Another model to compare with.", autocompletion=complete_model),
    ] = None,
    judge: Annotated[
        str | None,
        Option(help="Model that judges; by default, the same.", autocompletion=complete_model),
    ] = None,
    output: Annotated[
        str | None, Option("--output", "-o", help="File for all results, as JSON Lines.")
    ] = None,
    limit: Annotated[int | None, Option(min=1, help="Use only the first N tasks.")] = None,
    max_tokens: Annotated[
        int | None, Option(min=1, help="Maximum number of tokens of an answer.")
    ] = None,
    temperature: Annotated[
        float, Option(min=0, max=100, help="Sampling temperature; 0 selects the likeliest token.")
    ] = 0.0,
    seed: Annotated[int | None, Option(min=0, max=LARGEST_SEED, help="Random seed.")] = None,
    raw: Annotated[
        bool, Option("--raw", help="Prompts as they are, without the chat template.")
    ] = False,
    parallel: Annotated[
        str, Option(metavar="N", help="Requests at once; auto: as many as the model computes.")
    ] = "auto",
    fail_under: Annotated[
        float | None,
        Option(min=0, max=100, metavar="PERCENT", help="Exit with 1 if fewer tasks pass."),
    ] = None,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model by tasks: the rate that passes, and what does not.

    A task has a prompt and what its answer is compared with: exact, contains,
    regex, number, schema (JSON Schema), choices (by log probability) or judge
    (a judge model decides). Samples of lm-evaluation-harness and lines of MMLU,
    ARC, HellaSwag, PIQA, BoolQ and GSM8K are tasks as well.

    Examples:
    localrun eval guide tasks.jsonl

    localrun eval guide tasks.jsonl --against qwen3:0.6b
    """
    import os

    from localrun.cli.batch.settings import parse_parallel
    from localrun.cli.eval.run import EvaluationRun
    from localrun.cli.eval.show import print_results, refuse_errors, save_results
    from localrun.cli.models.pull import find_or_pull
    from localrun.cli.output import Output
    from localrun.cli.serving.result_file import check_output
    from localrun.cli.serving.run_options import with_device
    from localrun.errors import UsageError
    from localrun.evaluation.evaluation import EvaluationOptions
    from localrun.services.workspace import open_workspace

    output_file, num_parallel = check_output(output), parse_parallel(parallel)
    workspace = open_workspace(os.environ)
    run = EvaluationRun(with_device(workspace.settings, device), tasks, limit, num_parallel)
    names = [name for name in (model, against) if name is not None]
    models = [find_or_pull(workspace, name).name for name in names]
    if len(set(models)) < len(models):
        raise UsageError(f"--against {against} is the model itself", hint="--against OTHER")
    judge_name = find_or_pull(workspace, judge).name if judge else None
    results = {}
    for name in dict.fromkeys(models):
        options = EvaluationOptions(
            model=name,
            judge=judge_name or models[0],
            max_tokens=max_tokens,
            seed=seed,
            is_raw=raw,
            sampling={"temperature": temperature},
        )
        results[name] = run.results(options)
    try:
        rate = print_results(results, Output(as_json=as_json))
    finally:  # results that took long are not lost by a closed stdout, nor by a full disk
        if output_file is not None:
            save_results(output_file, results)
    refuse_errors(results)
    if fail_under is not None and 100 * rate < fail_under:
        raise SystemExit(1)
