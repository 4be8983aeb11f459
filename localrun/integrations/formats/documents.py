"""Configuration files as text: one interface for JSON with comments, YAML and TOML.

Every edit is checked before it is returned: the new text holds the values of the edits, and all
other values as before. Line ends stay; a text that mixes them is edited only as JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from localrun.errors import LocalrunError, UsageError
from localrun.integrations.edits import applied, is_same
from localrun.integrations.formats.jsonc_edits import decoded_jsonc, edited_jsonc
from localrun.integrations.formats.toml_edits import decoded_toml, edited_toml
from localrun.integrations.formats.yaml_edits import decoded_yaml, edited_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localrun.integrations.edits import Edit


class FileFormat(StrEnum):
    """Format of a configuration file."""

    JSON = "json"  # with comments
    YAML = "yaml"
    TOML = "toml"


EDITED = {FileFormat.JSON: edited_jsonc, FileFormat.YAML: edited_yaml, FileFormat.TOML: edited_toml}
DECODED = {
    FileFormat.JSON: decoded_jsonc,
    FileFormat.YAML: decoded_yaml,
    FileFormat.TOML: decoded_toml,
}
COMMENT_MARKS = {FileFormat.JSON: "//", FileFormat.YAML: "#", FileFormat.TOML: "#"}
LARGEST = {FileFormat.JSON: 512_000, FileFormat.YAML: 64_000, FileFormat.TOML: 256_000}  # bytes


def edited_document(text: str, file_format: FileFormat, edits: Sequence[Edit]) -> str:
    """Return the text of a file with the edits, the same text if they were made already.

    Raises:
        UsageError: the text is malformed, or has another type where an edit goes.
        LocalrunError: the edit would change something else; a bug.
    """
    if file_format is not FileFormat.JSON and "\r" in text:
        return _with_plain_line_ends(text, file_format, edits)
    try:
        return _checked(text, file_format, edits)
    except RecursionError as error:
        raise UsageError("it has too many levels") from error


def _checked(text: str, file_format: FileFormat, edits: Sequence[Edit]) -> str:
    """Return the edited text if it decodes to the edited value."""
    before = DECODED[file_format](text)
    edited = EDITED[file_format](text, edits)
    if not is_same(DECODED[file_format](edited), applied(before, edits)):
        raise LocalrunError(
            "the edit would change other settings of the file",
            hint="add the printed settings by hand",
        )
    return edited


def _with_plain_line_ends(text: str, file_format: FileFormat, edits: Sequence[Edit]) -> str:
    plain = text.replace("\r\n", "\n")
    if "\r" in plain or plain.count("\n") != text.count("\r\n"):
        raise UsageError("it mixes line ends of Windows and Unix")
    return edited_document(plain, file_format, edits).replace("\n", "\r\n")
