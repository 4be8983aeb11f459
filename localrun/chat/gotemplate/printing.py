"""Text of values as Go prints and formats them, and as Go writes JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.values import JsonDict, JsonList, Struct, TypeNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# Go escapes these so that its JSON can be embedded in HTML
_HTML = {
    ord("<"): "\\u003c",
    ord(">"): "\\u003e",
    ord("&"): "\\u0026",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
_VERB = re.compile(
    r"%(?P<flags>[-+ 0]*)(?P<width>\d{0,3})(?P<precision>(?:\.\d{0,3})?)(?P<verb>.?)"
)
MAX_FORM_CHARS = 10_000
_PLAIN_FROM, _PLAIN_BELOW = 1e-6, 1e21  # within this range JSON has no exponent
_EXPONENT_UNTIL, _EXPONENT_FROM = -5, 6


def printed(value: object) -> str:
    """Return a value as an action prints it: ``<no value>`` for a missing one."""
    return "<no value>" if value is None else shown(value)


def shown(value: object) -> str:
    """Return a value as ``%v`` does."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _float(value)
    if value is None or isinstance(value, bool):
        return "<nil>" if value is None else str(value).lower()
    return _shown_container(value)


def items(value: Mapping[str, object]) -> list[tuple[str, object]]:
    """Return the items of a map in Go's order of iteration."""
    return sorted(value.items(), key=lambda pair: pair[0].encode(errors="surrogatepass"))


def json_text(value: object) -> str:
    """Return a value as JSON in one line; map keys are sorted, struct keys keep their order."""
    pieces: list[str] = []
    _write_json(value, pieces.append)
    return "".join(pieces)


def formatted(form: str, values: tuple[object, ...]) -> str:
    """Return the text of ``printf``, with the verbs d, f, q, s, t, v and %.

    Raises:
        ValueError: another verb, or a value that is missing, left over or of another type.
    """
    if len(form) > MAX_FORM_CHARS:
        raise ValueError(f"the format of printf is longer than {MAX_FORM_CHARS} characters")
    remaining = list(values)
    text = _VERB.sub(lambda match: _verb(match, remaining), form)
    if remaining:
        raise ValueError(f"printf {form!r} has {len(remaining)} values too many")
    return text


def _shown_container(value: object) -> str:
    match value:
        case JsonDict() | JsonList():
            return json_text(value)
        case TypeNames() if len(value) == 1:
            return shown(value[0])
        case list():
            return f"[{' '.join(map(shown, value))}]"
        case dict():
            return f"map[{' '.join(f'{key}:{shown(part)}' for key, part in items(value))}]"
        case Struct():
            return f"{{{' '.join(map(shown, value.fields.values()))}}}"
    return str(value)


def _write_json(value: object, write: Callable[[str], None]) -> None:
    match value:
        case Struct():
            _write_object(value.json.items(), write)
        case dict():
            _write_object(items(value), write)
        case TypeNames() if len(value) == 1:
            _write_json(value[0], write)
        case list() | tuple():
            _write_array(value, write)
        case float():
            write(_json_float(value))
        case _:
            write(json.dumps(value, ensure_ascii=False).translate(_HTML))


def _write_array(parts: Sequence[object], write: Callable[[str], None]) -> None:
    separator = "["
    for part in parts:
        write(separator)
        _write_json(part, write)
        separator = ","
    write("]" if parts else "[]")


def _write_object(pairs: Iterable[tuple[str, object]], write: Callable[[str], None]) -> None:
    separator = "{"
    for key, part in pairs:
        write(separator)
        write(json.dumps(key, ensure_ascii=False).translate(_HTML))
        write(":")
        _write_json(part, write)
        separator = ","
    write("}" if separator == "," else "{}")


def _json_float(value: float) -> str:
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        return _without_exponent(value)
    return re.sub(r"e-0(\d)$", r"e-\1", _with_exponent(value))


def _float(value: float) -> str:
    """Return the shortest digits, with an exponent if Go's %v has one."""
    exponent = int(f"{value:e}".partition("e")[2]) if value else 0
    if _EXPONENT_UNTIL < exponent < _EXPONENT_FROM:
        return _without_exponent(value)
    return _with_exponent(value)


def _without_exponent(value: float) -> str:
    if value.is_integer():
        return str(int(value))
    digits = repr(value)
    if "e" not in digits:
        return digits
    mantissa, _, exponent = digits.partition("e")
    num_decimals = len(mantissa.partition(".")[2]) - int(exponent)
    return f"{value:.{max(num_decimals, 0)}f}"


def _with_exponent(value: float) -> str:
    for num_digits in range(18):
        text = f"{value:.{num_digits}e}"
        if float(text) == value:
            return text
    return f"{value:e}"


def _verb(match: re.Match[str], remaining: list[object]) -> str:
    verb = match["verb"]
    if verb == "%":
        return "%"
    if not remaining:
        raise ValueError(f"printf {match[0]!r} has no value")
    text = _as_verb(verb, remaining.pop(0), match)
    width = int(match["width"] or 0)
    if "-" in match["flags"]:
        return text.ljust(width)
    return text.zfill(width) if "0" in match["flags"] and verb in "df" else text.rjust(width)


def _as_verb(verb: str, value: object, match: re.Match[str]) -> str:
    sign = "+" if "+" in match["flags"] else "-"
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return format(value, f"{sign}d")
    if verb == "f" and isinstance(value, float):
        return format(value, f"{sign}{match['precision'] or '.6'}f")
    if verb == "t" and isinstance(value, bool):
        return shown(value)
    if verb == "q" and isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if verb in {"s", "v"} and (verb == "v" or not isinstance(value, int | float)):
        limit = int(match["precision"][1:] or 0) if match["precision"] else None
        return shown(value)[:limit]
    raise ValueError(f"printf {match[0]!r} cannot write {shown(value)!r}")
