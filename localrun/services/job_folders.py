"""Where the files of a job lie, as its recipe names them: said by a server, made by the job."""

from __future__ import annotations

FILES_FOLDER = "./files"
ADAPTER_FOLDER = "./adapter"
DRAFT_FOLDER = "./draft"
