"""Imports without the garbage collector, which otherwise takes a third of the processor time of a short command."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

CHANGES_NO_NUMBER: Final = "it decides when garbage is looked for"


class ImportedObjects:
    """What the garbage collector does with the objects that imports create. Almost all of them stay."""

    are_kept: ClassVar[bool] = False
    """Whether the collector never looks again at what exists after an import. This is for processes that belong to the
    harness: elsewhere the objects of the caller would be kept as well."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Look for no garbage inside the block, which imports modules. See ``ImportedObjects`` for what comes after it."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if ImportedObjects.are_kept:
            gc.freeze()
        if was_enabled:
            gc.enable()
