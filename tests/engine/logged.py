"""Reading the log of a run."""

import json
from pathlib import Path


def events(log: str, kind: str) -> list[dict[str, object]]:
    """Lines of one kind, in order."""
    lines = [json.loads(line) for line in Path(log).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == kind]
