"""How long work tells of itself. The engine reports; only the command line decides what a person sees."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units finished since the last call."""


class Progress(Protocol):
    """Receives progress; shows it or not. It can never change a result."""

    def stage(self, label: str, total: int, unit: str) -> AbstractContextManager[Advance]:
        """A piece of work of known size, like training (steps) or one attack (samples)."""
        ...

    def overall(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """The whole job, counted in cells."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Swallow a stage."""
        yield lambda count: None

    @contextmanager
    def overall(self, label: str, total: int) -> Iterator[Advance]:
        """Swallow the whole."""
        yield lambda count: None
