"""Frozen specs with one canonical JSON form, which is the only thing ever hashed."""

import hashlib
import json
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from robustbench_wb.errors import UsageError


def parse_exact(value: object) -> Fraction:
    """Read an exact number: ``"8/255"``, ``"0.031"``, ``8``. Floats are refused: they are rarely what was meant.

    Raises:
        UsageError: the text is not a number, or a float was given.
    """
    if isinstance(value, bool | float):
        raise UsageError(f"{value!r} is not an exact number; write it as text, like '8/255' or '0.031'")
    try:
        return Fraction(value if isinstance(value, int | Fraction) else str(value))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{value!r} is not a number; write it like '8/255' or '0.031'") from None


Exact = Annotated[Fraction, BeforeValidator(parse_exact), PlainSerializer(str)]
"""An exact fraction in a spec; its text form (``8/255``) is what is hashed and printed."""


class Spec(BaseModel):
    """An immutable description that can be hashed: equal specs have equal digests, on any machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON form."""
        return digest(self)


def plain(value: Any) -> Any:
    """Reduce a value to JSON types; what has no single JSON form is refused.

    Raises:
        TypeError: the value has no canonical form (a programming error, not a user's).
    """
    if isinstance(value, Spec):
        return plain(value.model_dump())
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("only text keys have a canonical form")
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8, no NaN."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON form of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
