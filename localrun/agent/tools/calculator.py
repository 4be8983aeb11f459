"""Calculator: evaluates an arithmetic expression over a bounded syntax tree.

Whole numbers are exact, with at most `MAX_BITS` bits; other numbers are floats. ``^`` means a
power. Invariant: nothing but numbers, operators and the functions below is evaluated, and no step
takes longer than a multiplication of two numbers of `MAX_BITS` bits.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from typing import TYPE_CHECKING

from localrun.agent.toolbox import AgentTool, Effect, ToolError, ToolResult
from localrun.agent.tools.arguments import check_known, read_text, schema, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.agent.toolbox import Arguments

    Number = int | float

LONGEST_EXPRESSION = 500  # characters
MAX_BITS = 10_000  # about 3,000 digits
LARGEST_FACTORIAL = 1000
SIGNIFICANT = ".15g"
SHOWN_DIGITS = 60
SIGNS = str.maketrans(
    {"\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2212": "-", "^": "**", "\u03c0": "pi"}
)
CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}
SCHEMA = schema(("expression",), expression=text_of("Such as (3 + 4) * 2 ** 10, sqrt(2), 17 % 5."))


def calculator_tool() -> AgentTool:
    """Return the tool."""
    return AgentTool(
        name="calculate",
        description="Calculate an arithmetic expression.",
        parameters=SCHEMA,
        effect=Effect.READ,
        execute=lambda arguments, _cancel: calculate(arguments),
    )


def calculate(arguments: Arguments) -> ToolResult:
    """Return the value of an expression as text.

    Raises:
        ToolError: it is no such expression, or its value is too large.
    """
    check_known(arguments, SCHEMA)
    value = evaluate(read_text(arguments, "expression"))
    text = str(value) if isinstance(value, int) else format(value, SIGNIFICANT)
    return ToolResult(
        text=text, summary=text if len(text) < SHOWN_DIGITS else f"{len(text)} digits"
    )


def evaluate(expression: str) -> Number:
    """Return the value of an expression.

    Raises:
        ToolError: as `calculate`.
    """
    if len(expression) > LONGEST_EXPRESSION:
        raise ToolError(f"An expression may have at most {LONGEST_EXPRESSION} characters.")
    try:
        with warnings.catch_warnings():  # of the parser, about "1if"
            warnings.simplefilter("ignore")
            tree = ast.parse(expression.translate(SIGNS).strip(), mode="eval")
        return _value(tree.body)
    except ZeroDivisionError as error:
        raise ToolError("Division by zero.") from error
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = "The value is not defined" if isinstance(error, ValueError) else "No expression"
        raise ToolError(f"{reason}: {expression[:100]!r}.") from error
    except OverflowError as error:
        raise ToolError("The value is too large.") from error


def _value(node: ast.expr) -> Number:
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.BinOp):
        operate = BINARY.get(type(node.op))
        if operate is not None:
            return _bounded(operate(_value(node.left), _value(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Name) and node.id in CONSTANTS:
        return CONSTANTS[node.id]
    if isinstance(node, ast.Call):
        return _call(node)
    raise ToolError(
        f"Only numbers, + - * / // % **, and {', '.join(FUNCTIONS)} can be calculated; "
        "numbers have no thousands separators."
    )


def _constant(node: ast.Constant) -> Number:
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise ToolError("Only numbers can be calculated.")
    return _bounded(node.value)


def _call(node: ast.Call) -> Number:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    function = FUNCTIONS.get(name)
    if function is None or node.keywords:
        raise ToolError(f"No such function. Functions: {', '.join(FUNCTIONS)}.")
    return _bounded(function(*map(_value, node.args)))


def _bounded(value: Number | complex) -> Number:
    if isinstance(value, complex):  # a root of a negative number
        raise ToolError("The value is no real number.")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OverflowError
    if isinstance(value, float) and not math.isfinite(value):
        raise OverflowError
    return value


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, int) and isinstance(exponent, int):
        if abs(base) > 1 and base.bit_length() * abs(exponent) > MAX_BITS:
            raise OverflowError
        if exponent < 0 and base == 0:
            raise ZeroDivisionError
    result: Number = base**exponent
    return result


def _factorial(value: Number) -> int:
    if not isinstance(value, int) or not 0 <= value <= LARGEST_FACTORIAL:
        raise OverflowError
    return math.factorial(value)


def _round(value: Number, digits: Number = 0) -> Number:
    if isinstance(value, int) and abs(digits) > MAX_BITS:
        raise OverflowError
    return round(value, int(digits)) if digits else round(value)


def _divide(left: Number, right: Number) -> Number:
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "acos": math.acos,
    "asin": math.asin,
    "atan": math.atan,
    "ceil": math.ceil,
    "cos": math.cos,
    "degrees": math.degrees,
    "exp": math.exp,
    "factorial": _factorial,
    "floor": math.floor,
    "gcd": math.gcd,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "radians": math.radians,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
