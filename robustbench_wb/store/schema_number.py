"""Schema numbers of stored tables: older tables are read, newer ones are rejected. See docs/formats.md."""

from typing import Final

from robustbench_wb.errors import StoreError

SCHEMA_KEY: Final = "schema"
"""Name of the schema number in commits, files and JSON."""


def reject_newer_schema(found: object, known: int, what: str) -> None:
    """Reject a schema number that is greater than ``known``. None stands for data written before it was noted.

    Raises:
        StoreError: the number is greater than ``known``, or not a number; the message names ``what``.
    """
    try:
        number = 0 if found is None else int(str(found))
    except ValueError as error:
        raise StoreError(f"the schema of {what} is {found!r}, which is not a number; the data are damaged") from error
    if number > known:
        raise StoreError(f"the schema of {what} is {number} and this release reads up to {known}; install a newer one")
