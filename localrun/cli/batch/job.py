"""One run of a batch: its input, its journal, the server, and what is told meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.batches.driver import Driver
from localrun.batches.input_file import InputFile, InputFormat, spooled
from localrun.batches.journal import BatchJournal, OutputFile, journal_of
from localrun.batches.outcome import OutcomeWriter
from localrun.batches.requests import RequestTemplate, check_options, make_request
from localrun.cli.batch.lines import PrintedLines, StreamedLines
from localrun.cli.batch.loading import AHEAD, load_for_batch, reload_model
from localrun.cli.batch.report import BatchReport
from localrun.cli.output import Output, counted
from localrun.cli.serving.answer import interruptible
from localrun.client.batch_sender import BatchSender, ServerRevival
from localrun.errors import FailedLinesError, LocalrunError, StorageError, UsageError

if TYPE_CHECKING:
    from localrun.batches.driver import Done
    from localrun.batches.requests import BatchRequest
    from localrun.cli.batch.settings import BatchSettings
    from localrun.services.stored_model import StoredModel
    from localrun.settings import Settings

DRY_ROUNDS = 2  # requests of an estimate for each that runs in parallel


def run_batch(server: Settings, model: StoredModel, settings: BatchSettings) -> None:
    """Answer all records; print the answers, or write them to a file.

    Raises:
        FailedLinesError: some records were not answered.
        LocalrunError: the batch cannot go on; the same command goes on later.
    """
    with contextlib.ExitStack() as stack:
        source = _opened_input(settings, stack)
        run = BatchRun(server, model, settings, source)
        if settings.choice.is_dry:
            run.estimate()
        else:
            run.answer_all(stack)


class BatchRun:
    """What one run of a batch works with."""

    def __init__(
        self, server: Settings, model: StoredModel, settings: BatchSettings, source: InputFile
    ) -> None:
        """Check the options against the input.

        Raises:
            UsageError: an option does not fit the input or the model.
        """
        self._server = server
        self._model = model
        self._settings = settings
        self._source = source
        choice = settings.choice
        self._options = RequestTemplate(
            model=model.name,
            embeds="embedding" in model.details.capabilities,
            template=settings.template,
            column=choice.column,
            system=choice.system,
            max_tokens=choice.max_tokens,
            schema=settings.schema,
            sampling=settings.sampling,
        )
        check_options(source.format, source.columns, self._options)
        if self._options.embeds and (settings.schema or choice.wanted or choice.system):
            raise UsageError(f"{model.name} is an embedding model: it has no answers of text")
        self._writer = OutcomeWriter(
            form=source.format,
            columns=source.columns,
            wanted=choice.wanted,
            parses=settings.schema is not None,
            as_csv=settings.delimiter is not None,
            delimiter=settings.delimiter or ",",
        )
        self._num_records = min(len(source), choice.limit or len(source))
        self._report = BatchReport(self._num_records)
        self._ids: dict[bytes, int] = {}  # records by the digest of their custom id

    def answer_all(self, stack: contextlib.ExitStack) -> None:
        """Answer the records that have no line yet."""
        journal = self._open_journal(stack)
        indices = (n for n in range(self._num_records) if not journal.is_done(n))
        self._report.begin(journal.num_done)
        self._check_ids()
        num_parallel = self._load()
        driver = Driver(self._request, self._sender(), num_parallel)
        try:
            with interruptible():
                for done in driver.outcomes(indices):
                    self._write(journal, done)
        except BaseException as error:
            driver.stop()
            with contextlib.suppress(StorageError):  # which may be the error that ends it
                journal.sync()
            journal.close()
            output = self._settings.output
            can_resume = output is not None and not _is_stream(output)
            self._report.interrupted(can_resume=can_resume)
            _hint_to_resume(error, has_output=can_resume)
            raise
        journal.remove()
        self._report.end()
        if journal.num_failed:
            how = "was" if journal.num_failed == 1 else "were"
            reason = f": {self._report.first_error}" if self._report.first_error else ""
            raise FailedLinesError(
                f"{counted(journal.num_failed, 'record')} of {self._num_records} {how} not answered"
                + reason
            )

    def estimate(self) -> None:
        """Answer a few records, and print what all of them will take."""
        num_parallel = self._load()
        num_tried = min(self._num_records, max(1, DRY_ROUNDS * num_parallel))
        step = self._num_records / num_tried
        driver = Driver(self._request, self._sender(), num_parallel)
        self._report.begin(0)
        try:
            with interruptible():
                for done in driver.outcomes(iter([int(n * step) for n in range(num_tried)])):
                    self._report.count(done.outcome, self._is_generated(done))
        except BaseException:
            driver.stop()
            raise
        self._report.estimate(num_parallel)

    def _request(self, index: int) -> BatchRequest:
        request = make_request(self._source.format, self._source.fields(index), self._options)
        if request.custom_id and self._ids.get(_short(request.custom_id), index) != index:
            raise UsageError(f"custom_id {request.custom_id[:80]!r} is used twice")
        return request

    def _check_ids(self) -> None:
        """Note which record was the first with each custom id."""
        if self._source.format is not InputFormat.OPENAI:
            return
        for index in range(self._num_records):
            with contextlib.suppress(UsageError):
                custom_id = self._source.fields(index).get("custom_id")
                if isinstance(custom_id, str):
                    self._ids.setdefault(_short(custom_id), index)

    def _write(self, journal: BatchJournal, done: Done) -> None:
        path = "" if done.request is None else done.request.path
        custom_id = "" if done.request is None else done.request.custom_id
        outcome = self._writer.checked(path, done.outcome)
        fields: dict[str, Any] = {}
        with contextlib.suppress(UsageError):
            fields = self._source.fields(done.index)
        if not custom_id and isinstance(fields.get("custom_id"), str):
            custom_id = fields["custom_id"]
        line = self._writer.line(done.index + 1, custom_id, path, fields, outcome)
        journal.add(done.index, line, is_failed=not outcome.is_ok)
        self._report.count(outcome, self._is_generated(done))

    def _is_generated(self, done: Done) -> bool:
        return done.request is not None and not self._options.embeds

    def _open_journal(self, stack: contextlib.ExitStack) -> BatchJournal:
        output, is_ordered = self._settings.output, self._settings.choice.is_ordered
        fingerprint = self._fingerprint()
        if output is None or _is_stream(output):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="localrun-batch-"))
            return BatchJournal.create(
                Path(folder, "journal"),
                PrintedLines() if output is None else StreamedLines(output),
                fingerprint=fingerprint,
                is_ordered=is_ordered,
                head=self._writer.head,
            )
        found = self._reopened(output, fingerprint)
        return found or self._created(output, fingerprint)

    def _reopened(self, output: Path, fingerprint: str) -> BatchJournal | None:
        if not self._settings.choice.resumes or not output.exists():
            return None
        if not journal_of(output).exists():
            raise UsageError(
                f"{output.name} exists, and no batch writes it any more",
                hint="-o OTHER, or --no-resume to replace it",
            )
        return BatchJournal.reopen(
            journal_of(output),
            OutputFile(output),
            fingerprint=fingerprint,
            is_ordered=self._settings.choice.is_ordered,
        )

    def _created(self, output: Path, fingerprint: str) -> BatchJournal:
        return BatchJournal.create(
            journal_of(output),
            OutputFile(output),
            fingerprint=fingerprint,
            is_ordered=self._settings.choice.is_ordered,
            head=self._writer.head,
        )

    def _fingerprint(self) -> str:
        """Return a digest of all that the lines depend on."""
        choice = self._settings.choice
        facts = {
            "input": self._source.digest,
            "format": self._source.format.value,
            "model": self._model.digest,
            "template": choice.template,
            "column": choice.column,
            "system": choice.system,
            "schema": self._settings.schema,
            "wanted": choice.wanted,
            "delimiter": self._settings.delimiter,
            "is_ordered": choice.is_ordered,
            "max_tokens": choice.max_tokens,
            "sampling": self._settings.sampling,
            "num_ctx": choice.num_ctx,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _sender(self) -> partial[BatchSender]:
        num_ctx = self._settings.choice.num_ctx
        reload = partial(reload_model, self._server, self._model.name, num_ctx)
        revival = ServerRevival(self._server, reload)
        background = self._settings.choice.is_background
        return partial(BatchSender, self._server, revival, is_background=background)

    def _load(self) -> int:
        """Load the model; return how many requests are sent at once."""
        if self._options.embeds:
            return self._settings.num_parallel or AHEAD
        return load_for_batch(
            self._server,
            self._model.name,
            self._settings.num_parallel,
            self._settings.choice.num_ctx,
        )


def _opened_input(settings: BatchSettings, stack: contextlib.ExitStack) -> InputFile:
    path = settings.prompts
    if path is None:
        if sys.stdin.isatty():
            Output().note("reading prompts from the terminal, one a line; Ctrl-D ends them")
        path = spooled(sys.stdin.buffer, Path(tempfile.gettempdir()))
        stack.callback(partial(path.unlink, missing_ok=True))
    source = InputFile(path, settings.form, name=settings.choice.prompts)
    stack.callback(source.close)
    return source


def _is_stream(path: Path) -> bool:
    """Return whether a path is no regular file, such as /dev/stdout."""
    return path.exists() and not path.is_file()


def _hint_to_resume(error: BaseException, *, has_output: bool) -> None:
    if isinstance(error, LocalrunError) and has_output:
        hint = "the same command goes on"
        error.hint = f"{error.hint}; then {hint}" if error.hint else hint


def _short(custom_id: str) -> bytes:
    return hashlib.blake2b(custom_id.encode(errors="replace"), digest_size=8).digest()
