"""Plain words for a value that a data class refuses."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from robustbench_wb.registry import suggest_names

_WHOLE: Final = "must be a whole number"
_NUMBER: Final = "must be a number"
_TEXT: Final = "must be text"
_SWITCH: Final = "must be true or false"
_LIST: Final = "must be a list"
_TABLE: Final = "must be a table of keys and values"
_KINDS: Final[Mapping[str, str]] = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "string_type": _TEXT,
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "dict_type": _TABLE,
    "model_type": _TABLE,
}
"""What a value must be, by the error type of pydantic."""
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be greater than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
    "literal_error": ("expected", "must be"),
}
"""Entry of the context, and the words before it, by the error type of pydantic."""


class InvalidField(NamedTuple):
    """One field that is missing, unknown or has a wrong value."""

    name: str
    """Name of the field; of a nested one with dots, like ``scales.smoke.samples``. Empty for the whole object."""
    reason: str
    """End of a sentence that begins with the name, like ``must be at least 1, not 0``."""

    def __str__(self) -> str:
        return f"{self.name} {self.reason}".strip()


def first_invalid_field(error: ValidationError, kind: type[BaseModel]) -> InvalidField:
    """The first unknown field of an error, because a misspelt field is often missing as well; else its first field.

    Args:
        error: what pydantic raised.
        kind: the data class that refused the values.
    """
    problems = error.errors()
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    place, why = problem["loc"], problem["type"]
    name = ".".join(map(str, place))
    if why == "missing":
        return InvalidField(name, "is missing")
    if why == "extra_forbidden":
        known = list(_class_at(kind, place[:-1]).model_fields)
        return InvalidField(name, f"is unknown; {suggest_names(str(place[-1]), known)}")
    if why == "value_error":
        return InvalidField(name, problem["msg"].removeprefix("Value error, "))
    return InvalidField(name, _limit(why, problem.get("ctx", {}), problem["msg"]) + _shown(problem["input"]))


def _limit(why: str, context: Mapping[str, Any], message: str) -> str:
    if why in _BOUNDS:
        entry, words = _BOUNDS[why]
        return f"{words} {context[entry]}"
    return _KINDS.get(why, f"is wrong: {message[:1].lower()}{message[1:]}")


def _shown(value: object) -> str:
    """A refused number, text or switch; nothing for tables and lists, which may be long."""
    return f", not {value!r}" if isinstance(value, str | int | float) else ""


def _class_at(kind: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel]:
    """The data class at a place within another: numbers of list entries and keys of tables keep it."""
    found = kind
    for part in place:
        field = found.model_fields.get(str(part))
        found = (field and _class_in(field.annotation)) or found
    return found


def _class_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _class_in(part))), None)
