"""Loading of score tables by reference: a version, a results folder, a baseline, or a table written to a file."""

import csv
import io
import re
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from robustbench_wb.errors import StoreError
from robustbench_wb.object_store import is_url
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import SCHEMA_VERSION, ScoreRow, read_rows
from robustbench_wb.store.baseline import SUFFIX, read_baseline
from robustbench_wb.store.lazy_records import FEW, LazyRecords
from robustbench_wb.store.location import local_folder
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.schema_number import SCHEMA_KEY, reject_newer_schema
from robustbench_wb.store.score_table import VERSION, ScoreTable
from robustbench_wb.text_files import is_folder, parse_json, read_text, reason_of

_PLACED: Final = re.compile(rf"(?P<place>.+):(?P<version>{VERSION})")
_QUOTED: Final = re.compile(r"'[=+\-@\t\r]")


@dataclass(frozen=True, kw_only=True)
class LoadedTable:
    """Loaded rows of a score table, and the location of their records."""

    name: str
    """Name such as ``v3``, ``other/results:v2`` or ``board.csv``, in which a version is given by its number."""
    rows: list[ScoreRow]
    """Rows of the table."""
    location: str
    """Location of the results that hold the records; empty if ``records`` are all that there are."""
    version: int | None = None
    """Number of the version; None for a file."""
    records: Mapping[str, Record] = field(default_factory=dict, repr=False)
    """Records by key that a baseline file contains."""
    pinned: Sequence[ScoreRow] = ()
    """Rows of the pinned ancestor of a promoted baseline."""


def load_table(reference: str, results: str) -> LoadedTable:
    """Load the score table that ``reference`` names.

    Args:
        reference: a version ``v3``, ``HEAD``, ``HEAD~1`` or ``latest`` of the results; ``PLACE:v3`` or ``PLACE`` (its
            latest version), where PLACE is a folder or URL; a baseline file; a folder of baseline files without
            results, which are one table; or a ``.csv`` or ``.json`` file that ``leaderboard`` wrote, whose records are
            looked up in the results.
        results: location of the results.

    Raises:
        StoreError: the version, folder or file does not exist or cannot be read.
    """
    if not isinstance(reference, str):
        raise StoreError(f"a table is named by text, like v3 or latest, not {reference!r}")
    if not reference.strip():
        raise StoreError("the name of a table is empty; give a version like v3, a results folder or a baseline file")
    if re.fullmatch(VERSION, reference):
        return _version(results, reference, "")
    if not is_url(reference) and reference.endswith(SUFFIX):
        return _of_baselines(reference, [Path(reference)], results)
    if not is_url(reference) and reference.lower().endswith((".csv", ".json")):
        return LoadedTable(name=reference, rows=_read_file(Path(reference)), location=results)
    placed = _PLACED.fullmatch(reference)
    place, version = (placed["place"], placed["version"]) if placed else (reference, "HEAD")
    if not is_url(place) and not is_folder(local_folder(place)):
        known = f"a version like v3 or HEAD~1, nor a results folder, nor a {SUFFIX}, .csv or .json file of a table"
        raise StoreError(f"{reference!r} is neither {known}")
    files = [] if placed or is_url(place) else sorted(local_folder(place).glob(f"*{SUFFIX}"))
    if files and not ScoreTable(place).exists():
        return _of_baselines(place, files, results)
    return _version(place, version, f"{place}:")


def _of_baselines(name: str, files: Sequence[Path], results: str) -> LoadedTable:
    """One table of the rows of baseline files.

    Raises:
        StoreError: a file cannot be read, or two files have a row for the same evaluation.
    """
    kept = [read_baseline(file) for file in files]
    rows = [row for one in kept for row in one.rows]
    if len(kept) > 1 and len({row.slot for row in rows}) < len(rows):
        raise StoreError(f"files of {name!r} have several rows of one evaluation; remove those of an earlier table")
    return LoadedTable(
        name=name,
        rows=rows,
        location=results,
        records={key: record for one in kept for key, record in one.records.items()},
        pinned=[row for one in kept for row in one.pinned],
    )


def find_records(sides: Iterable[LoadedTable], keys: Iterable[str], results: str) -> Mapping[str, Record]:
    """Find the records of ``keys``, by key. Those of a large table are read in blocks, when they are asked for.

    Records contained in the loaded tables come first, then those stored at the locations of the tables, then those of
    the results.

    Raises:
        StoreError: a record store is unreadable.
    """
    members, wanted = list(sides), set(keys)
    found: dict[str, Record] = {}
    sources: list[Mapping[str, Record]] = [found]
    found |= {key: record for side in members for key, record in side.records.items() if key in wanted}
    missing = wanted - found.keys()
    for location in dict.fromkeys((*(side.location for side in members if side.location), results)):
        if len(missing) <= FEW:
            found |= RecordStore(location).find(sorted(missing))
            missing -= found.keys()
        else:  # models one after the other, as their rows are
            ordered = [row.key for side in members for row in side.rows if row.key in missing]
            sources.append(LazyRecords(RecordStore(location), [*ordered, *sorted(missing)]))
            missing -= sources[-1].keys()
    return sources[0] if len(sources) == 1 else ChainMap(*map(_read_only, sources))


def _read_only(records: Mapping[str, Record]) -> MutableMapping[str, Record]:
    """A mapping with the type that ``ChainMap`` asks for, although it never writes into any but the first."""
    return cast("MutableMapping[str, Record]", records)


def _version(location: str, version: str, prefix: str) -> LoadedTable:
    table = ScoreTable(location)
    number = table.version(version)
    return LoadedTable(name=f"{prefix}v{number}", rows=table.rows(number), location=location, version=number)


def _read_file(path: Path) -> list[ScoreRow]:
    try:
        text = read_text(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{str(path)!r} cannot be read: {reason_of(error)}") from error
    refuse_spreadsheet(text, path)
    try:
        entries = _json_rows(text, repr(str(path))) if path.suffix.lower() == ".json" else _csv_rows(text)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(f"{str(path)!r} is not a table that `leaderboard` wrote") from error
    if not entries:
        raise StoreError(f"{str(path)!r} has no rows; it is empty, or was cut off")
    return read_rows(entries, f"the rows of {str(path)!r}")


def refuse_spreadsheet(text: str, path: Path) -> None:
    """Refuse a table whose columns a spreadsheet separated in another way; its numbers may have decimal commas, too.

    Raises:
        StoreError: the header has the columns of a table, but no commas.
    """
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        head = text.removeprefix(f"sep={separator}\n").partition("\n")[0]
        if separator in head and {"suite", "task", "variant"} <= {part.strip('" \r') for part in head.split(separator)}:
            raise StoreError(f"{str(path)!r} separates its columns by {name}; save it with commas and decimal points")


def _json_rows(text: str, where: str) -> list[object]:
    content = parse_json(text)
    rows = list(content["rows"])
    reject_newer_schema(content.get(SCHEMA_KEY), SCHEMA_VERSION, where)
    return rows


def _csv_rows(text: str) -> list[dict[str, str]]:
    # An apostrophe was written before text that a spreadsheet would run as a formula.
    return [
        {name: value[1:] if _QUOTED.match(value) else value for name, value in line.items()}
        for line in csv.DictReader(io.StringIO(text, newline=""), strict=True)
    ]
