"""Rows as a pandas data frame. Importing this module does not import pandas."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

if TYPE_CHECKING:
    import pandas as pd

NAMES: Final = ("task", "suite", "scale", "variant", "size", "recipe", "seed", "stressor", "strength")
"""Columns that name an evaluation, in the order of a frame."""


def to_frame(rows: Iterable[Mapping[str, object]]) -> "pd.DataFrame":
    """A data frame with one row per mapping."""
    import pandas as pd

    return pd.DataFrame(list(rows))


def columns(row: object, leave_out: Collection[str] = ()) -> dict[str, object]:
    """The fields of a data class or pydantic model by name, without those left out.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(row, BaseModel):
        names = list(type(row).model_fields)
    elif is_dataclass(row):
        names = [field.name for field in fields(row)]
    else:
        raise TypeError(f"{type(row).__name__} has no fields")
    return {name: getattr(row, name) for name in names if name not in leave_out}


def names(row: object) -> dict[str, object]:
    """The columns of ``NAMES`` that a row has."""
    return {name: getattr(row, name) for name in NAMES if hasattr(row, name)}
