"""What a table of another release is to this one: an older one is read, a newer one is refused. See docs/formats.md."""

from typing import Final

from robustbench_wb.errors import StoreError

SCHEMA_KEY: Final = "schema"
"""Under this name the number stands in commits, files and JSON."""


def refuse_newer(found: object, known: int, what: str) -> None:
    """Go on only where the schema number is one that this release knows; None is what was written before it was noted.

    Raises:
        StoreError: it is a later one, or no number.
    """
    try:
        number = 0 if found is None else int(str(found))
    except ValueError as error:
        raise StoreError(f"the schema of {what} is {found!r}, which is no number; it is damaged") from error
    if number > known:
        raise StoreError(f"the schema of {what} is {number} and this harness reads up to {known}; install a newer one")
