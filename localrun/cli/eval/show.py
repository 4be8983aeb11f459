"""Results of an evaluation, as tables and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from localrun.cli.output import counted
from localrun.cli.serving.result_file import write_result
from localrun.errors import FailedLinesError
from localrun.evaluation.statistics import paired_p, wilson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from localrun.cli.output import Output
    from localrun.evaluation.evaluation import Result

MAX_LISTED = 20  # failures
SHOWN = 60  # characters of a prompt or an answer


def print_results(results: Mapping[str, Sequence[Result]], output: Output) -> float:
    """Print the results of each model; return the rate of the first that passed."""
    if output.as_json:
        output.json(_as_json(results))
    else:
        _print_rates(results, output)
        _print_failures(results, output)
        _print_comparison(results, output)
    first = next(iter(results.values()))
    return _num_passed(first) / len(first)


def save_results(path: Path, results: Mapping[str, Sequence[Result]]) -> None:
    """Write one line of JSON for each task and model.

    Raises:
        StorageError: the file cannot be written.
    """
    lines = [
        json.dumps({"model": model, **_result_json(result)}, ensure_ascii=False)
        for model, rows in results.items()
        for result in rows
    ]
    write_result(path, "\n".join(lines) + "\n")


def refuse_errors(results: Mapping[str, Sequence[Result]]) -> None:
    """Report tasks that were not answered at all, which is no failure of the model.

    Raises:
        FailedLinesError: there are some.
    """
    errors = [result for found in results.values() for result in found if result.is_error]
    if errors:
        how = "was" if len(errors) == 1 else "were"
        raise FailedLinesError(
            f"{counted(len(errors), 'task')} {how} not answered: {_short(errors[0].reason)}"
        )


def _print_rates(results: Mapping[str, Sequence[Result]], output: Output) -> None:
    rows = []
    for model, found in results.items():
        for kind, some in {"": found, **_by_kind(found)}.items():
            interval = wilson(_num_passed(some), len(some))
            rate = _num_passed(some) / len(some)
            rows.append(
                (
                    model,
                    kind or "all",
                    f"{_num_passed(some)} of {len(some)}",
                    f"{100 * rate:.1f} %",
                    f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %",
                )
            )
    output.table(("MODEL", "TASKS", "PASSED", "RATE", "95 % INTERVAL"), rows)


def _print_failures(results: Mapping[str, Sequence[Result]], output: Output) -> None:
    for model, found in results.items():
        failed = [result for result in found if not result.passes]
        if not failed:
            continue
        output.line("")
        output.line(f"{model}: {counted(len(failed), 'task')} failed")
        rows = [
            (each.task.id, _short(each.task.prompt), _short(each.answer), _short(each.reason))
            for each in failed[:MAX_LISTED]
        ]
        output.table(("ID", "PROMPT", "ANSWER", "WHY"), rows)
        if len(failed) > MAX_LISTED:
            output.line(f"and {len(failed) - MAX_LISTED} more; -o FILE writes all of them")


def _print_comparison(results: Mapping[str, Sequence[Result]], output: Output) -> None:
    comparison = _comparison(results)
    if comparison is None:
        return
    first, second = results
    output.line("")
    output.line(
        f"only {first} passes {comparison['only_first']}, only {second}"
        f" {comparison['only_second']}; p = {comparison['p']:.3g} (McNemar, exact)"
    )


def _as_json(results: Mapping[str, Sequence[Result]]) -> dict[str, Any]:
    models = []
    for model, found in results.items():
        interval = wilson(_num_passed(found), len(found))
        models.append(
            {
                "model": model,
                "tasks": len(found),
                "passed": _num_passed(found),
                "errors": sum(result.is_error for result in found),
                "rate": _num_passed(found) / len(found),
                "low": interval.low,
                "high": interval.high,
                "kinds": {
                    kind: {"tasks": len(some), "passed": _num_passed(some)}
                    for kind, some in _by_kind(found).items()
                },
                "failures": [_result_json(each) for each in found if not each.passes],
            }
        )
    return {"models": models, "comparison": _comparison(results)}


def _comparison(results: Mapping[str, Sequence[Result]]) -> dict[str, Any] | None:
    """Return how two models differ on the same tasks, None if there is only one."""
    if len(results) != 2:  # noqa: PLR2004 - a pair
        return None
    first, second = results.values()
    pairs = [(a.passes, b.passes) for a, b in zip(first, second, strict=True)]
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    return {
        "only_first": only_first,
        "only_second": only_second,
        "p": paired_p(only_first, only_second),
    }


def _result_json(result: Result) -> dict[str, Any]:
    return {
        "id": result.task.id,
        "kind": result.task.kind.value,
        "passes": result.passes,
        "answer": result.answer,
        "reason": result.reason,
        "is_error": result.is_error,
    }


def _by_kind(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return the results of each kind, empty if there is only one kind."""
    kinds = list(dict.fromkeys(result.task.kind.value for result in results))
    if len(kinds) == 1:
        return {}
    return {kind: [each for each in results if each.task.kind.value == kind] for kind in kinds}


def _num_passed(results: Sequence[Result]) -> int:
    return sum(result.passes for result in results)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
