"""Values as Go prints them and as Go writes them in JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from localrun.chat.gotemplate.values import JsonDict, JsonList, Struct, TypeNames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# Go escapes these so that its JSON can stand inside of HTML
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
_PLAIN_FROM, _PLAIN_BELOW = 1e-6, 1e21  # between them JSON has no exponent
_EXPONENT_UNTIL, _EXPONENT_FROM = -5, 6


def printed(value: object) -> str:
    """Return a value as an action prints it; one that is absent is ``<no value>``."""
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
    """Return what a map holds in the order in which Go goes through it."""
    return sorted(value.items(), key=lambda pair: pair[0].encode(errors="surrogatepass"))


def json_text(value: object) -> str:
    """Return a value as JSON of one line: a map's keys sorted, a struct's as they are."""
    pieces: list[str] = []
    _write_json(value, pieces.append)
    return "".join(pieces)


def formatted(form: str, values: tuple[object, ...]) -> str:
    """Return what ``printf`` makes of a format with the verbs d, f, q, s, t, v and %.

    Raises:
        ValueError: another verb, or one without a value of its kind.
    """
    if len(form) > MAX_FORM_CHARS:
        raise ValueError(f"the format of printf is longer than {MAX_FORM_CHARS} characters")
    left = list(values)
    text = _VERB.sub(lambda found: _verb(found, left), form)
    if left:
        raise ValueError(f"printf {form!r} has {len(left)} values too many")
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
    """Write the shortest digits, with an exponent where %v of Go has one."""
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


def _verb(found: re.Match[str], left: list[object]) -> str:
    verb = found["verb"]
    if verb == "%":
        return "%"
    if not left:
        raise ValueError(f"printf {found[0]!r} has no value")
    text = _as_verb(verb, left.pop(0), found)
    width = int(found["width"] or 0)
    if "-" in found["flags"]:
        return text.ljust(width)
    return text.zfill(width) if "0" in found["flags"] and verb in "df" else text.rjust(width)


def _as_verb(verb: str, value: object, found: re.Match[str]) -> str:
    sign = "+" if "+" in found["flags"] else "-"
    if verb == "d" and isinstance(value, int) and not isinstance(value, bool):
        return format(value, f"{sign}d")
    if verb == "f" and isinstance(value, float):
        return format(value, f"{sign}{found['precision'] or '.6'}f")
    if verb == "t" and isinstance(value, bool):
        return shown(value)
    if verb == "q" and isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if verb in {"s", "v"} and (verb == "v" or not isinstance(value, int | float)):
        limit = int(found["precision"][1:] or 0) if found["precision"] else None
        return shown(value)[:limit]
    raise ValueError(f"printf {found[0]!r} cannot write {shown(value)!r}")
