"""Storage of records, as the engine needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from robustbench_wb.records.record import Record

Span = tuple[int, int]
"""Index of the first of some evaluated samples, and the index after the last."""


class RecordKeeper(Protocol):
    """A place that keeps records. The store implements it."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Return the records among ``keys`` that exist."""
        ...

    def append(self, *records: Record) -> Sequence[Record]:
        """Keep records durably before returning. Of records with one key, the first one that was ever kept counts.

        Returns:
            The record that counts for the key of each given one.
        """
        ...

    def find_parts(self, keys: Sequence[str]) -> Mapping[Span, Sequence[Record]]:
        """Return the parts of unfinished cells that are measured together: a record of each on some of its samples.

        Args:
            keys: keys of the cells, in order.
        """
        ...

    def append_part(self, span: Span, records: Sequence[Record]) -> None:
        """Keep one part of some cells durably: their records on some of the samples, in the order of ``find_parts``."""
        ...

    def remove_parts(self, keys: Sequence[str]) -> None:
        """Remove all parts of cells, whose records are kept now."""
        ...


class NoRecords:
    """A keeper without records, for measurements that are not results."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Return an empty mapping."""
        return {}

    def append(self, *records: Record) -> Sequence[Record]:
        """Return the records, and keep none."""
        return records

    def find_parts(self, keys: Sequence[str]) -> Mapping[Span, Sequence[Record]]:
        """Return an empty mapping."""
        return {}

    def append_part(self, span: Span, records: Sequence[Record]) -> None:
        """Keep nothing."""

    def remove_parts(self, keys: Sequence[str]) -> None:
        """Remove nothing."""
