"""Immutable specs with one canonical JSON form. Digests are computed from that form alone."""

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from fractions import Fraction
from typing import Annotated, Any, TypeAlias, overload

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from robustbench_wb.errors import UsageError


def parse_exact(value: object) -> Fraction:
    """Parse an exact number such as ``"8/255"``, ``"0.031"`` or ``8``. Floats are rejected, because they are not exact.

    Raises:
        UsageError: the value is a float or not a number.
    """
    if isinstance(value, bool | float):
        raise UsageError(f"{value!r} is not an exact number; write it as text, like '8/255' or '0.031'")
    try:
        return Fraction(value if isinstance(value, int | Fraction) else str(value))
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"{value!r} is not a number; write it like '8/255' or '0.031'") from None


Exact = Annotated[Fraction, BeforeValidator(parse_exact), PlainSerializer(str)]
"""Exact fraction as a field of a spec; its text form (``8/255``) is hashed and printed."""


class Spec(BaseModel):
    """Immutable description with a digest: equal specs have equal digests on every machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON form."""
        return digest(self)


Json: TypeAlias = "str | int | float | list[Json] | dict[str, Json] | None"
"""Value of JSON types (bool is a kind of int)."""


@overload
def to_json_types(value: Spec) -> dict[str, Any]: ...
@overload
def to_json_types(value: Mapping[str, object]) -> dict[str, Json]: ...
@overload
def to_json_types(value: list[object] | tuple[object, ...]) -> list[Json]: ...
@overload
def to_json_types(value: object) -> Json: ...
def to_json_types(value: object) -> Json:
    """Convert a value to JSON types.

    Raises:
        TypeError: the value has no canonical JSON form. This is a programming error, not a user's.
    """
    if isinstance(value, Spec):
        fields: Mapping[str, object] = value.model_dump()
        return to_json_types(fields)
    if isinstance(value, Enum):
        inner: object = value.value
        return to_json_types(inner)
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("only text keys have a canonical form")
        return {key: to_json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_types(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical JSON form")


def canonical_json(value: object) -> str:
    """Canonical JSON text of a value: sorted keys, no spaces, UTF-8.

    Raises:
        TypeError: the value has no canonical JSON form.
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(to_json_types(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 (hex) of the canonical JSON form of ``value``."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
