"""Digests of code that are proven to do the same: what a refactoring changes beyond moved and renamed modules.

The list is ``equivalences.json`` beside this module. ``benchmarks/equivalence.py`` makes it: both versions of the code
run the same golden cells, and a pair of digests is listed only when every outcome is equal bit for bit.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from robustbench_wb.errors import HarnessError

CHANGES_NO_NUMBER: Final = "it looks up digests of code and computes nothing that is measured"

LISTED: Final = Path(__file__).with_name("equivalences.json")


def earliest(code: str) -> str:
    """The oldest digest that ``code`` is listed as equivalent to, step by step; ``code`` itself when it is not listed.

    Raises:
        HarnessError: the list cannot be read.
    """
    listed = read_equivalences(LISTED)
    while code in listed:
        code = listed[code]
    return code


def same_code(one: str, other: str) -> bool:
    """Whether two digests are equal or listed as equivalent. Digests joined by ``+`` are compared part by part."""
    return one == other or [earliest(part) for part in one.split("+")] == [earliest(part) for part in other.split("+")]


@cache
def read_equivalences(path: Path) -> Mapping[str, str]:
    """From each newer digest of a list to the older one. Of several older ones, the first listed stands.

    Raises:
        HarnessError: the file is not such a list, or a digest leads back to itself.
    """
    try:
        entries: Sequence[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["equivalences"]
        found: dict[str, str] = {}
        for entry in entries:
            found.setdefault(str(entry["new"]), str(entry["old"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"the list of equivalent code in {path} cannot be read: {error}") from error
    for code in found:
        passed = {code}
        while (code := found.get(code, "")) and code not in passed:
            passed.add(code)
        if code:
            raise HarnessError(f"the list of equivalent code in {path} leads from {code} back to itself; remove one")
    return found
