"""How values become strings, numbers and truth, and how they compare.

Source: GitHub's "Evaluate expressions" (operators, and the table of coercions). Values are plain data: None,
bool, int, float, str, list, dict. Numbers are IEEE doubles on GitHub; here an integral double is an int.
"""

from __future__ import annotations

import math
import re
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|Infinity)\Z")
_RADIX = re.compile(r"0(?:[xX]([0-9a-fA-F]+)|[oO]([0-7]+)|[bB]([01]+))\Z")
# What JavaScript's Number() trims; Python's own idea of white space differs.
_WHITESPACE = "\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_SAFE_INTEGER_MAX = 2**53
_FRACTION_DIGITS = 15
_PLAIN_NUMBER_LIMIT = 1e21
"""From here on JavaScript prints an exponent."""


def normal_number(value: float) -> int | float:
    """The number as a double would hold it; an int when it is integral and exact."""
    if type(value) is int:
        if -_SAFE_INTEGER_MAX <= value <= _SAFE_INTEGER_MAX:
            return value
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if math.isfinite(value) and value == math.floor(value) and abs(value) <= _SAFE_INTEGER_MAX:
        return int(value)
    return value


def parse_number(text: str) -> int | float:
    """A string as a number: empty is 0, hexadecimal and octal are known, anything else that is no number is
    NaN."""
    text = text.strip(_WHITESPACE)
    if not text:
        return 0
    if _NUMBER.match(text):
        return normal_number(float(text))
    radix = _RADIX.match(text)
    if radix:
        for digits, base in zip(radix.groups(), (16, 8, 2), strict=True):
            if digits is not None:
                return _parse_digits(digits, base)
    return math.nan


def _parse_digits(digits: str, base: int) -> int | float:
    # All three bases are powers of two, which int() reads in linear time without a limit.
    return normal_number(int(digits, base))


def to_number(value: Any) -> int | float:
    """null is 0, true 1, false 0, strings as `parse_number`; arrays and objects are NaN."""
    if value is None:
        return 0
    if isinstance(value, bool):
        return 1 if value else 0
    if isinstance(value, (int, float)):
        return normal_number(value)
    if isinstance(value, str):
        return parse_number(value)
    return math.nan


def to_string(value: Any) -> str:
    """As GitHub prints a value inside a string: null is empty, arrays are `Array`, objects are `Object`."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (int, float)):
        return _rounded_number_text(normal_number(value))
    return "Array" if isinstance(value, list) else "Object"


def number_text(value: float) -> str:
    """The shortest text of a number, as JavaScript and JSON write it."""
    if isinstance(value, int) or not math.isfinite(value):
        if isinstance(value, int):
            return str(value)
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value == 0:
        return "0"
    mantissa, _, exponent_text = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    exponent = int(exponent_text or "0") + len(whole)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    exponent -= len(digits) - len(stripped)
    digits = stripped.rstrip("0")
    sign = "-" if value < 0 else ""
    return sign + _place_point(digits, exponent)


def _place_point(digits: str, exponent: int) -> str:
    """`0.digits × 10^exponent` as JavaScript's Number::toString lays it out."""
    count = len(digits)
    if count <= exponent <= 21:
        return digits + "0" * (exponent - count)
    if 0 < exponent <= 21:
        return f"{digits[:exponent]}.{digits[exponent:]}"
    if -6 < exponent <= 0:
        return "0." + "0" * -exponent + digits
    power = exponent - 1
    mantissa = digits if count == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{mantissa}e{'+' if power > 0 else '-'}{abs(power)}"


def _rounded_number_text(value: float) -> str:
    if isinstance(value, int) or not math.isfinite(value) or abs(value) >= _PLAIN_NUMBER_LIMIT:
        return number_text(value)
    # 15 digits after the point, halves away from zero, so that 0.1 + 0.2 style noise is not shown.
    numerator, denominator = abs(value).as_integer_ratio()
    scaled = (numerator * 10**_FRACTION_DIGITS * 2 + denominator) // (2 * denominator)
    rounded = scaled / 10**_FRACTION_DIGITS
    return number_text(normal_number(-rounded if value < 0 else rounded))


def truthy(value: Any) -> bool:
    """false, 0, -0, NaN, "" and null are false; arrays and objects are true even when empty."""
    if value is None or value is False or value == "":
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value != 0 and not math.isnan(value)
    return True


def is_primitive(value: Any) -> bool:
    return not isinstance(value, (list, dict))


def fold_case(text: str) -> str:
    """Upper case for comparisons; the dotless i stays itself, as on GitHub."""
    if text.isascii():
        return text.upper()
    return "ı".join(part.upper() for part in text.split("ı"))


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _coerced(left: Any, right: Any) -> tuple[str, Any, Any]:
    """The two values made comparable, and their common kind ("" when they have none)."""
    left_kind, right_kind = _kind(left), _kind(right)
    if left_kind == right_kind:
        return left_kind, left, right
    if left_kind in ("null", "boolean"):
        left, left_kind = to_number(left), "number"
    if right_kind in ("null", "boolean"):
        right, right_kind = to_number(right), "number"
    if left_kind == "number" and right_kind == "string":
        right, right_kind = parse_number(right), "number"
    elif left_kind == "string" and right_kind == "number":
        left, left_kind = parse_number(left), "number"
    return (left_kind if left_kind == right_kind else ""), left, right


def equals(left: Any, right: Any) -> bool:
    """`==`: strings without regard to case, different kinds as numbers, arrays and objects by identity."""
    kind, left, right = _coerced(left, right)
    if kind == "string":
        return bool(left == right) or fold_case(left) == fold_case(right)
    if kind in ("array", "object"):
        return left is right
    if kind == "number":
        return normal_number(left) == normal_number(right)
    return kind != "" and bool(left == right)


def _order_key(text: str) -> Any:
    folded = fold_case(text)
    return folded.encode("utf-16-be", "surrogatepass")


def less_than(left: Any, right: Any) -> bool:
    """`<`: strings without regard to case, everything else as numbers; NaN is not ordered."""
    kind, left, right = _coerced(left, right)
    if kind == "string":
        return bool(_order_key(left) < _order_key(right))
    if kind in ("number", "boolean"):
        return bool(left < right)
    return False
