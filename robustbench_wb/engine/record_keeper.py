"""Storage of records, as the engine needs it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from robustbench_wb.records.record import Record


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


class NoRecords:
    """A keeper without records, for measurements that are not results."""

    def find(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Return an empty mapping."""
        return {}

    def append(self, *records: Record) -> Sequence[Record]:
        """Return the records, and keep none."""
        return records
