"""``localrun bench``."""

from __future__ import annotations

from typing import Annotated

from typer import Argument, Option

from localrun.cli.completion import complete_model
from localrun.cli.options import AsJson, ContextOption, DeviceOption


def bench(  # noqa: PLR0913 - one parameter a flag
    models: Annotated[list[str], Argument(help="Names of models.", autocompletion=complete_model)],
    *,
    prompts: Annotated[
        str, Option("--prompt", "-p", metavar="TOKENS,...", help="Lengths of prompts.")
    ] = "128,512,2048",
    generated: Annotated[
        int, Option("--gen", "-n", min=2, metavar="TOKENS", help="Length of answers.")
    ] = 128,
    parallel: Annotated[
        str, Option(metavar="N,...", help="Numbers of answers that are generated at once.")
    ] = "1,4,16",
    rounds: Annotated[int, Option("--rounds", "-r", min=1, max=1000, help="Samples.")] = 5,
    image: Annotated[str | None, Option(help="Picture to ask about, of models that see.")] = None,
    compare: Annotated[
        str | None,
        Option(metavar="URL", help="Measure an OpenAI-compatible server in turn with this one."),
    ] = None,
    compare_model: Annotated[
        str | None, Option(metavar="NAME", help="Name of the model there; by default, the same.")
    ] = None,
    compare_key: Annotated[
        str | None,
        Option(metavar="KEY", envvar="LOCALRUN_COMPARE_KEY", help="API key of the other server."),
    ] = None,
    save: Annotated[str | None, Option(metavar="FILE", help="Save the report as JSON.")] = None,
    against: Annotated[
        str | None,
        Option(metavar="FILE", help="Compare with a saved report; exit with 1 if it is worse."),
    ] = None,
    plot: Annotated[
        str | None, Option(metavar="FILE.svg", help="Write a chart of the rates.")
    ] = None,
    as_csv: Annotated[bool, Option("--csv", help="Print CSV.")] = False,
    as_benchstat: Annotated[
        bool, Option("--benchstat", help="Print the lines that benchstat reads.")
    ] = False,
    ctx: ContextOption = None,
    device: DeviceOption = None,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of models on this machine.

    pp512 is the tokens a second of a prompt of 512 tokens, tg128 those of an
    answer of 128, and tg128 x4 those of four answers at once, all in all; pp and
    tg are those of llama-bench. The first token comes cold (the model is not
    loaded), warm (the prompt is new) or cached (the prompt is known). Nothing
    else should run meanwhile.

    Examples:
    localrun bench guide

    localrun bench guide --compare http://127.0.0.1:8080
    """
    import os
    from pathlib import Path

    from localrun.benchmarks.comparison import changes
    from localrun.benchmarks.report import read_report
    from localrun.benchmarks.suite import SuiteOptions
    from localrun.cli.bench.options import (
        check_comparison,
        check_models,
        read_counts,
        read_picture,
    )
    from localrun.cli.bench.run import BenchRun, ComparedServer
    from localrun.cli.bench.show import (
        OutputForm,
        show_changes,
        show_pairs,
        show_report,
        write_files,
    )
    from localrun.cli.models.pull import find_or_pull
    from localrun.cli.options import parse_context
    from localrun.cli.output import Output
    from localrun.cli.serving.result_file import check_output
    from localrun.cli.serving.run_options import with_device
    from localrun.services.workspace import open_workspace

    options = SuiteOptions(
        prompts=read_counts(prompts, "--prompt"),
        num_generated=generated,
        parallel=read_counts(parallel, "--parallel"),
        rounds=rounds,
        image=None if image is None else read_picture(image),
    )
    form = OutputForm.of(as_json=as_json, as_csv=as_csv, as_benchstat=as_benchstat)
    if compare is not None:
        check_comparison(
            {
                "--save": save,
                "--against": against,
                "--plot": plot,
                "--image": image,
                "--csv": as_csv,
                "--benchstat": as_benchstat,
            }
        )
    before = None if against is None else read_report(Path(against))
    files = [check_output(name) for name in (save, plot)]
    workspace = open_workspace(os.environ)
    run = BenchRun(with_device(workspace.settings, device), options, parse_context(ctx))
    found = [find_or_pull(workspace, name) for name in dict.fromkeys(models)]
    output = Output(as_json=as_json)
    if before is not None:
        check_models(before, found, against)
    if compare is not None:
        server = ComparedServer.of(compare, compare_model, compare_key)
        show_pairs(run.paired(found, server), output)
        return
    report = run.report(found)
    changed = None if before is None else changes(before, report)
    try:
        show_report(report, form, output, changed)
    finally:  # figures that took long are not lost by a closed stdout, nor by a full disk
        write_files(report, save=files[0], plot=files[1])
    if changed is not None and show_changes(changed, form, output):
        raise SystemExit(1)
