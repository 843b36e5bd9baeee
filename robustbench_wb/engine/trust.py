"""Trust in code: a results folder of somebody else names Python files, which run only if the user names them again."""

from collections.abc import Collection, Iterable
from pathlib import Path

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError
from robustbench_wb.stressors.catalogue import parse_stressor


def trusted_requests(
    requests: Iterable[RunRequest], named: Collection[str], trust_code: bool
) -> tuple[list[RunRequest], dict[str, str]]:
    """Requests of a results folder without models and stressors that run code of files.

    Args:
        requests: requests as they are stored.
        named: models that the user names now, like ``model.py:make``: their code runs.
        trust_code: whether the code of all files runs.

    Returns:
        The requests, and for each model that was left out the reason.
    """
    if trust_code:
        return list(requests), {}
    allowed = {_code(name) for name in named}
    kept: list[RunRequest] = []
    refused: dict[str, str] = {}
    for request in requests:
        variants = request.variants or ()
        left = tuple(name for name in variants if runs_file(name) and _code(name) not in allowed)
        refused |= {name: not_trusted(name) for name in left}
        rest = tuple(name for name in variants if name not in left)
        # Suite files and defaults can name files, too: the plan checks them before it loads one.
        update = {"variants": rest or None, "stressors": tuple(s for s in request.stressors if _usable(s, allowed))}
        if rest or not left:
            kept.append(request.model_copy(update=update).with_trusted(frozenset(map(str, named))))
    return kept, refused


def is_trusted(reference: str, named: Collection[str] | None) -> bool:
    """Whether the code of a model may run: it is in no file, or the user named it. ``named`` None: all code may."""
    return named is None or not runs_file(reference) or _code(reference) in {_code(name) for name in named}


def not_trusted(reference: str) -> str:
    """Reason why a model is not built, and what to do."""
    return f"{reference} is Python code that the table names; it runs only with --variant {reference} or --trust-code"


def runs_file(reference: str) -> bool:
    """Whether a model is a function in a Python file."""
    return ".py:" in reference


def _usable(signature: str, allowed: Collection[tuple[Path, str]]) -> bool:
    try:
        source = parse_stressor(signature).surrogate
    except UsageError:  # a strength is given apart
        return True
    return source is None or not runs_file(source) or _code(source) in allowed


def _code(reference: str) -> tuple[Path, str]:
    """File and function, however the path is written."""
    file, _, function = reference.rpartition(":")
    return Path(file).expanduser().resolve(), function
