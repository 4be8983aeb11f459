"""Settings of a batch: its options, checked before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.batches.input_file import InputFormat
from localrun.batches.template import parse_template
from localrun.cli.serving.result_file import check_output
from localrun.cli.serving.run_options import read_format
from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.batches.template import PromptTemplate

AUTO = "auto"
STDIN = "-"
MOST_PARALLEL = 1024
TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChoice:
    """The options as they were typed."""

    prompts: str
    output: str | None
    input_format: str | None
    template: str | None
    column: str | None
    system: str | None
    json_schema: str | None
    wanted: tuple[str, ...]
    as_csv: bool
    is_ordered: bool
    resumes: bool
    parallel: str
    limit: int | None
    is_dry: bool
    is_background: bool
    max_tokens: int | None
    sampling: dict[str, Any]
    num_ctx: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """The options, read; None for ``prompts`` is stdin, and for ``output`` stdout."""

    choice: BatchChoice
    prompts: Path | None
    output: Path | None
    form: InputFormat | None
    template: PromptTemplate | None
    schema: dict[str, Any] | None
    num_parallel: int | None  # None: as many as the model computes at once
    delimiter: str | None  # of an output that is a table
    sampling: dict[str, Any] = field(default_factory=dict)


def read_choice(choice: BatchChoice) -> BatchSettings:
    """Return the settings of some options.

    Raises:
        UsageError: an option is wrong; the error names it.
        StorageError: the output cannot be written.
    """
    prompts = None if choice.prompts == STDIN else Path(choice.prompts)
    if prompts is not None and not prompts.is_file():
        what = "is a folder" if prompts.is_dir() else "does not exist"
        raise UsageError(f"{choice.prompts} {what}", hint="localrun batch MODEL FILE -o OUT.jsonl")
    output = check_output(choice.output)
    if output is not None and prompts is not None and output == prompts.absolute():
        raise UsageError("the output would replace the input", hint="-o OTHER.jsonl")
    return BatchSettings(
        choice=choice,
        prompts=prompts,
        output=output,
        form=_form(choice.input_format),
        template=None if choice.template is None else parse_template(choice.template),
        schema=_schema(choice.json_schema),
        num_parallel=parse_parallel(choice.parallel),
        delimiter=_delimiter(choice, output),
        sampling={name: value for name, value in choice.sampling.items() if value is not None},
    )


def parse_parallel(text: str) -> int | None:
    """Return the number of requests at once, None for ``auto``.

    Raises:
        UsageError: it is neither.
    """
    if text == AUTO:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PARALLEL))
    if not is_number or not 0 < int(text) <= MOST_PARALLEL:
        raise UsageError(f"--parallel {text} is neither auto nor 1 to {MOST_PARALLEL}")
    return int(text)


def _form(name: str | None) -> InputFormat | None:
    if name is None:
        return None
    try:
        return InputFormat(name)
    except ValueError:
        known = ", ".join(form.value for form in InputFormat)
        raise UsageError(f"--input-format {name} is none of {known}") from None


def _schema(text: str | None) -> dict[str, Any] | None:
    schema = read_format(text, "--json-schema")
    if schema == "json":
        raise UsageError("--json-schema json is no schema", hint="--json-schema schema.json")
    return None if isinstance(schema, str) else schema


def _delimiter(choice: BatchChoice, output: Path | None) -> str | None:
    by_name = None if output is None else TABLES.get(output.suffix.lower())
    return by_name or ("," if choice.as_csv else None)
