"""Prompt of ``run``: its words, stdin, and files.

    run MODEL WORDS...            the words
    ... | run MODEL WORDS...      the words, a blank line, and the text of stdin
    ... | run MODEL Sum up - !    the text of stdin in the place of "-"
    --file FILE                   text and PDF files before the prompt, each with its name
    --image FILE, --audio FILE    images and sounds, if the model takes them; - is stdin

Paths of images and sounds in the words, and ``@FILE``, are attached as in a chat. Text of stdin is
never searched for paths.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localrun.cli.output import Output, is_terminal
from localrun.cli.prompt import as_text, read_all
from localrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from localrun.cli.chatting.attaching.attachments import AttachedMessage, AttachmentRules
    from localrun.cli.chatting.attaching.documents import MediaFile

STDIN = "-"
PATH_MARK = re.compile(r"[/\\@]|\.\w")  # in every path of a file that is attached
EXAMPLE = 'localrun run guide "What can you do?"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInput:
    """Where the prompt comes from."""

    words: Sequence[str] = ()
    files: Sequence[str] = ()
    images: Sequence[str] = ()
    stdin: TextIO | None = None
    media_names: list[str] = field(default_factory=list, init=False)  # filled by `message`

    @property
    def is_chat(self) -> bool:
        """Return whether there is no prompt, and a terminal to ask for one."""
        given = bool(self.words or self.files or self.images)
        return not given and self.stdin is not None and is_terminal(self.stdin)

    def text(self) -> str:
        """Return the prompt of a model that takes nothing but text, such as an embedder.

        Raises:
            UsageError: the prompt is empty, or not UTF-8.
        """
        text = self._joined(self._typed())
        if not text:
            raise UsageError("the prompt is empty", hint=EXAMPLE)
        return text

    def message(self, capabilities: Sequence[str]) -> dict[str, Any]:
        """Return the message of the user, with text and media of the files.

        Raises:
            UsageError: the prompt is empty, or a file cannot be used.
            NotFoundError: a file does not exist.
        """
        typed = self._typed()
        if not (self.files or self.images or PATH_MARK.search(typed)):
            return {"role": "user", "content": self.text()}
        from localrun.cli.chatting.attaching.attachments import (
            AttachmentRules,
            accepted_kinds,
            attach,
            read_files,
        )
        from localrun.cli.chatting.attaching.request_media import check_together

        rules = AttachmentRules(
            folder=Path.cwd(), accepts=lambda: accepted_kinds(capabilities), prefix="--"
        )
        files = read_files(self.files, rules)
        media = [*files.pdfs, *self._media(rules)]
        attached = attach(typed, rules, files.documents)
        check_together([*media, *attached.media])
        return self._message(attached, media)

    def _media(self, rules: AttachmentRules) -> list[MediaFile]:
        from localrun.cli.chatting.attaching.attachments import media_from, read_all_media

        media: list[MediaFile] = []
        for file in self.images:
            if file == STDIN:
                media.append(media_from(self._piped_bytes(), "stdin", rules))
            else:
                media += read_all_media(file, rules)
        return media

    def _piped_bytes(self) -> bytes:
        """Return the bytes of the pipe, up to one more than a medium may have."""
        from localrun.conversations.images import MAX_MESSAGE_BYTES

        if self.stdin is None or is_terminal(self.stdin):
            raise UsageError("there is no file in the pipe", hint="localrun run M --image - < FILE")
        return self.stdin.buffer.read(MAX_MESSAGE_BYTES + 1)

    def _message(self, attached: AttachedMessage, media: Sequence[MediaFile]) -> dict[str, Any]:
        for note in attached.notes:
            Output().note(note)
        documents = attached.content.removesuffix(attached.text).strip()
        content = "\n\n".join(part for part in (documents, self._joined(attached.text)) if part)
        if not content and not media:
            raise UsageError("the prompt is empty", hint=EXAMPLE)
        files = (*media, *attached.media)
        self.media_names[:] = [file.name for file in files]
        images = [base64.b64encode(file.content).decode() for file in files]
        return {"role": "user", "content": content, **({"images": images} if images else {})}

    def _typed(self) -> str:
        return " ".join(as_text(word, "the prompt") for word in self.words)

    def _joined(self, typed: str) -> str:
        """Return the words and the text of stdin."""
        if self.stdin is None or STDIN in self.images:  # the pipe has a medium, no text
            return typed
        if STDIN in self.words:
            piped = read_all(self.stdin).strip()
            return " ".join(piped if word == STDIN else word for word in typed.split(" ")).strip()
        piped = "" if is_terminal(self.stdin) else read_all(self.stdin).strip()
        return "\n\n".join(part for part in (typed, piped) if part)
