"""Trained models, registry listings and the details of one registry entry, as tables and JSON."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from robustbench_wb.report.text_block import Column, TextBlock, printable
from robustbench_wb.spec import to_json_types


def trained_models_blocks(subjects: Iterable[Mapping[str, Any]]) -> list[TextBlock]:
    """Table of the models that ``train`` trained or found in the cache, one row per model."""
    lines, notes = [], []
    for subject in subjects:
        names = tuple(str(subject[name]) for name in ("task", "variant", "size", "recipe", "seed"))
        card = subject["card"]
        if card is None:
            lines.append((*names, "", "", "error", ""))
            notes.append(f"{subject['variant']}: {subject['error']}")
        else:
            how = "trained now" if card["trained"] else "from the cache" if card["train_seconds"] else "as given"
            facts = (f"{card['parameters']:,}", f"{card['train_seconds']:.1f}", how, card["weights"][:12])
            lines.append((*names, *facts))
    columns = [Column(name) for name in ("task", "variant", "size", "recipe", "seed")]
    columns += [Column("parameters", "right"), Column("seconds", "right"), Column("how"), Column("weights")]
    return [TextBlock(columns=tuple(columns), rows=tuple(lines), notes=tuple(notes))]


def listing_blocks(listing: Mapping[str, list[dict[str, str]]]) -> list[TextBlock]:
    """Names and summaries of registry entries, one table per kind of entry; no table of several has no rows."""
    columns = (Column("name"), Column("what"), Column("origin"))
    return [
        TextBlock(
            kind, columns=columns, rows=tuple((entry["name"], entry["summary"], entry["origin"]) for entry in entries)
        )
        for kind, entries in listing.items()
        if entries or len(listing) == 1
    ]


def details_blocks(title: str, details: Mapping[str, object]) -> list[TextBlock]:
    """Table of the nonempty fields of one registry entry; no table without such fields."""
    filled = ((name, _words(value)) for name, value in details.items() if value not in (None, {}, []))
    lines = tuple((name, text) for name, text in filled if printable(text))
    return [TextBlock(title, columns=(Column("field"), Column("value")), rows=lines)] if lines else []


def details_json(value: object) -> str:
    """Specs, lists and dictionaries as indented JSON."""
    return json.dumps(to_json_types(value), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_words(item) for item in value)
    return str(value)
