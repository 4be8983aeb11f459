"""Hidden command of the child processes of `localrun.engine.llama.child_task`."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

from typer import Argument, Exit


def engine_task(task: Annotated[str, Argument(help="quantize, imatrix or perplexity.")]) -> None:
    """Do a task of llama.cpp for another localrun process; internal."""
    from localrun.engine.llama.cuda_libraries import prepare

    prepare()
    from localrun.engine.llama.task_channel import TaskChannel

    channel = TaskChannel()
    if task == "quantize":
        from localrun.engine.quantizing.quantize_child import run_quantizer as run
    elif task == "imatrix":
        from localrun.engine.measuring.imatrix_child import run_imatrix as run
    else:
        from localrun.engine.measuring.perplexity_child import run_perplexity as run
    try:
        code = run(channel)
    except Exception:  # noqa: BLE001 - a bug, whose last line the parent shows
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # at its end Python would crash on the thread that reads stdin
    raise Exit(code)
