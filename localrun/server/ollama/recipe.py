"""Request body of ``/api/create``, converted to the text of a recipe.

Either ``modelfile``, or the fields of later versions: from or files, adapters, draft_files,
template, system, license, parameters, messages. Files are named by the digests of uploaded
blobs. ``info`` states facts about the model, which the job compares with its file.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from localrun.errors import LocalrunError
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parameters import ParameterError, format_parameter, parse_parameter
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.write import write_modelfile
from localrun.remote.source import is_remote_source
from localrun.server.parsing.conversation import message_list
from localrun.server.parsing.json_schema import OBJECT, TEXT, listed, mapped
from localrun.server.parsing.limits import LONGEST_MODELFILE, MAX_STOPS
from localrun.server.parsing.table import Field, Table, integer, strings, text, unsupported
from localrun.services.creating.uploads import ADAPTER_FOLDER, DRAFT_FOLDER, FILES_FOLDER

if TYPE_CHECKING:
    from localrun.modelfile.parameters import ParameterValue
    from localrun.modelfile.recipe import Role
    from localrun.runner.messages import JsonObject
    from localrun.server.parsing.fields import Fields
    from localrun.server.parsing.table import Values

DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})", re.ASCII)
ROLES = ("system", "user", "assistant")
REFUSED = ("path", "remote_host")
MAX_FILES = 1000
TEXT_FACTS = ("base_name", "model_family", "parameter_size", "quantization_level")
NUMBER_FACTS = ("context_length", "embedding_length")
LONGEST_FACT = 1000  # characters
MAX_CAPABILITIES = 100


def recipe_order(fields: Fields) -> JsonObject:
    """Return the part of a job that describes the new model.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    values = FILES.read(fields)
    files, adapters, drafts = values[_FILES], values[_ADAPTERS], values[_DRAFT_FILES]
    written = values[_MODELFILE]
    if written is None:
        recipe = _from_fields(RECIPE.read(fields), files, adapters)
    else:
        recipe = _from_text(fields, written)
    _refuse_remote(fields, recipe)
    if drafts:
        recipe = replace(recipe, draft=_draft_path(drafts))
    draft_quantize = values[_DRAFT_QUANTIZE] or None
    if draft_quantize is not None and recipe.draft is None:
        raise fields.wrong("draft_quantize", "needs draft_files")
    _check_lists(fields, recipe)
    try:
        modelfile = write_modelfile(recipe)
    except LocalrunError as error:
        raise fields.wrong("modelfile", f"cannot be used: {error.message}") from error
    return {
        "modelfile": modelfile,
        "files": {} if _all_gguf(files) else files,
        "adapters": {} if _all_gguf(adapters) else adapters,
        "drafts": {} if _is_one_gguf(drafts) else drafts,
        "blobs": [*files.values(), *adapters.values(), *drafts.values()],
        "quantize": values[_QUANTIZE] or values[_QUANTIZATION] or None,
        "draft_quantize": draft_quantize,
        "facts": values[_INFO],
    }


def _facts(fields: Fields, name: str) -> JsonObject:
    """Return the facts that the request states about the model; the job checks them."""
    info = fields.inner(name)
    names = [row.name for row in INFO.rows]
    unknown = next((name for name in info.names if name not in names), None)
    if unknown is not None:
        raise info.wrong(unknown[:100], f"is not known: {', '.join(names)} are")
    facts = INFO.read(info).given(INFO.rows)
    lists = {name: list(fact) for name, fact in facts.items() if isinstance(fact, tuple)}
    return {name: fact for name, fact in (facts | lists).items() if fact}


def _check_lists(fields: Fields, recipe: Recipe) -> None:
    """Refuse a recipe with more stop strings than a request may have."""
    num_values = Counter(name for name, _ in recipe.parameters)
    for name in LISTS:
        if num_values[name] > MAX_STOPS:
            raise fields.wrong(f"parameters.{name}", f"has more than {MAX_STOPS} entries")


def _refuse_remote(fields: Fields, recipe: Recipe) -> None:
    """Refuse an engine elsewhere: a client may choose neither its address nor a file with its key.

    A remote model that the owner has added may be the base.
    """
    if any(map(is_remote_source, recipe.sources)):
        raise fields.wrong(
            "from" if fields.raw("modelfile") is None else "modelfile",
            "names an engine elsewhere, which only the owner of this machine adds: "
            "localrun remote add",
        )


def parse_digest(text: str) -> str | None:
    """Return a digest in the store's form, or None if the text is not a digest."""
    match = DIGEST.fullmatch(text)
    return f"sha256:{match[1].lower()}" if match else None


def _from_text(fields: Fields, text: str) -> Recipe:
    """Parse a Modelfile, in which older clients write ``FROM @sha256:...`` for an uploaded blob."""
    try:
        recipe = parse_modelfile(text.encode(errors="replace"))
    except LocalrunError as error:
        raise fields.wrong("modelfile", f"is wrong: {error.message}") from error
    adapters = tuple(replace(use, path=use.path.removeprefix("@")) for use in recipe.adapters)
    sources = tuple(source.removeprefix("@") for source in recipe.sources)
    draft = recipe.draft.removeprefix("@") if recipe.draft else None
    return replace(recipe, sources=sources, adapters=adapters, draft=draft)


def _from_fields(values: Values, files: dict[str, str], adapters: dict[str, str]) -> Recipe:
    base = values[_FROM]
    if bool(base) == bool(files):
        raise values.fields.wrong("from", "or files is required, one of them")
    return Recipe(
        sources=(base,) if base else _paths(files, FILES_FOLDER),
        adapters=tuple(AdapterUse(path=path) for path in _paths(adapters, ADAPTER_FOLDER)),
        template=values[_TEMPLATE] or None,
        system=values[_SYSTEM] or None,
        licenses=tuple(filter(None, values[_LICENSE])),
        messages=values[_MESSAGES],
        parameters=values[_PARAMETERS],
        renderer=values[_RENDERER] or None,
        parser=values[_PARSER] or None,
        requires=values[_REQUIRES] or None,
    )


def _digests(fields: Fields, name: str) -> dict[str, str]:
    """Return the digests of files by their names, sorted: names of shards have their order."""
    inner = fields.inner(name)
    if len(inner.names) > MAX_FILES:
        raise fields.wrong(name, f"has more than {MAX_FILES} entries")
    digests: dict[str, str] = {}
    for file in sorted(inner.names):
        digest = parse_digest(inner.required_text(file))
        if digest is None:
            raise inner.wrong(file, "must be a digest: sha256 and 64 digits")
        digests[file] = digest
    return digests


def _all_gguf(files: dict[str, str]) -> bool:
    """Return whether the names of files are unnecessary: a GGUF file describes itself."""
    return all(name.endswith(".gguf") for name in files)


def _paths(files: dict[str, str], folder: str) -> tuple[str, ...]:
    if not files:
        return ()
    return tuple(files.values()) if _all_gguf(files) else (folder,)


def _is_one_gguf(files: dict[str, str]) -> bool:
    """Return whether files are a single GGUF file: an instruction can name its digest."""
    return len(files) == 1 and _all_gguf(files)


def _draft_path(files: dict[str, str]) -> str:
    """Return the operand of DRAFT: a digest, or the folder of several files."""
    return next(iter(files.values())) if _is_one_gguf(files) else DRAFT_FOLDER


def _messages(fields: Fields, name: str) -> tuple[RecipeMessage, ...]:
    return tuple(
        _message(fields, f"{name}[{place}]", message)
        for place, message in enumerate(message_list(fields, name))
    )


def _message(fields: Fields, place: str, message: JsonObject) -> RecipeMessage:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise fields.wrong(place, f"must have a role of {', '.join(ROLES)}")
    return RecipeMessage(role=cast("Role", role), content=content)


def _parameters(fields: Fields, name: str) -> tuple[tuple[str, ParameterValue], ...]:
    inner = fields.inner(name)
    pairs: list[tuple[str, ParameterValue]] = []
    for parameter in inner.names:
        value = inner.raw(parameter)
        items = value if isinstance(value, list) else [value]
        if len(items) > MAX_STOPS:
            raise inner.wrong(parameter, f"has more than {MAX_STOPS} entries")
        pairs += [
            (parameter, _parameter(inner, parameter, item)) for item in items if item is not None
        ]
    known = [pair for pair in pairs if not KNOWN[pair[0]].deprecated]
    num_values = Counter(parameter for parameter, _ in known if parameter not in LISTS)
    for parameter, count in num_values.items():
        if count > 1:
            raise inner.wrong(parameter, "has one value, not a list")
    return tuple(known)


def _parameter(inner: Fields, name: str, value: object) -> ParameterValue:
    if not isinstance(value, str | int | float):
        raise inner.wrong(name, "must be a text, a number or a truth value")
    try:
        text = value if isinstance(value, str) else format_parameter(value)
        return parse_parameter(name, text)
    except (ParameterError, OverflowError, ValueError) as error:
        raise inner.wrong(name, f"is wrong: {error}") from error


_FILES, _ADAPTERS, _DRAFT_FILES = (
    Field(name, _digests, mapped(TEXT)) for name in ("files", "adapters", "draft_files")
)
_MODELFILE = text("modelfile", longest=LONGEST_MODELFILE)
_QUANTIZE, _QUANTIZATION, _DRAFT_QUANTIZE = map(
    text, ("quantize", "quantization", "draft_quantize")
)
INFO = Table(
    (
        strings("capabilities", most=MAX_CAPABILITIES),
        *(text(name, longest=LONGEST_FACT) for name in TEXT_FACTS),
        *(integer(name, 0) for name in NUMBER_FACTS),
    )
)
_INFO = Field("info", _facts, INFO.schema())
FILES = Table(
    (
        *map(unsupported, REFUSED),
        _FILES,
        _ADAPTERS,
        _MODELFILE,
        _DRAFT_FILES,
        _DRAFT_QUANTIZE,
        _QUANTIZE,
        _QUANTIZATION,
        _INFO,
    )
)
_FROM, _TEMPLATE, _SYSTEM = map(text, ("from", "template", "system"))
_LICENSE = strings("license", most=MAX_FILES)
_MESSAGES = Field("messages", _messages, listed(OBJECT))
_PARAMETERS = Field("parameters", _parameters, OBJECT)
_RENDERER, _PARSER, _REQUIRES = map(text, ("renderer", "parser", "requires"))
RECIPE = Table(  # read if there is no modelfile
    (
        _FROM,
        _TEMPLATE,
        _SYSTEM,
        _LICENSE,
        _MESSAGES,
        _PARAMETERS,
        _RENDERER,
        _PARSER,
        _REQUIRES,
    )
)
