"""One-line errors from the constructors of stressors, as from their signatures.

This is apart from ``Stressor`` because it changes no number: the identity of a record covers the code of stressors.
"""

from fractions import Fraction

from pydantic import BaseModel, ValidationError

from robustbench_wb.errors import UsageError
from robustbench_wb.spec import parse_exact
from robustbench_wb.stressors.stressor import Stressor, build_stressor


def explain_errors() -> None:
    """Let every stressor that is constructed with wrong parameters raise ``UsageError``, which names the parameter."""
    Stressor.__init__ = _construct  # type: ignore[assignment, method-assign]


def _construct(self: Stressor, *given: object, **numbers: object) -> None:
    kind = type(self)
    name = getattr(kind, "name", kind.__name__)
    if given:
        raise UsageError(f"stressor {name!r}: parameters are named, like {next(iter(kind.model_fields), 'eps')}=...")
    try:
        BaseModel.__init__(self, **numbers)
    except ValidationError:
        build_stressor(kind, numbers)  # raises the same as one line
        raise
    except UsageError:
        for field, value in numbers.items():
            if field in kind.model_fields and kind.model_fields[field].annotation is Fraction:
                _check_exact(f"stressor {name!r}: {field}", value)
        raise


_construct.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic: validation need not call it


def _check_exact(what: str, value: object) -> None:
    try:
        parse_exact(value)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
