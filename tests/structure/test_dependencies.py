"""What the package imports is what its installation brings: each library is a dependency, or one of an extra."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {name: lines for name, lines in PROJECT["optional-dependencies"].items() if name != "dev"}
BROUGHT_ALONG = {"markupsafe": "jinja2", "pytest": "pytest", "click": "typer", "typing_extensions": "pydantic"}
"""Libraries that a dependency cannot do without, and the plug-in of pytest, which only pytest loads."""


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~;, ]", line)[0].lower().replace("_", "-") for line in lines}


def imported() -> dict[str, set[str]]:
    """Top-level names of libraries that the package imports anywhere, with the files that do."""
    found: dict[str, set[str]] = {}
    for file in sorted((ROOT / "robustbench_wb").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            for top in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"robustbench_wb"}:
                found.setdefault(top, set()).add(str(file.relative_to(ROOT)))
    return found


def test_every_imported_library_is_a_declared_dependency() -> None:
    declared = names([*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)])
    owners = packages_distributions()
    missing = {
        top: files
        for top, files in imported().items()
        if top not in BROUGHT_ALONG
        and not {name.lower().replace("_", "-") for name in owners.get(top, [top])} & declared
    }
    assert not missing


def test_libraries_of_extras_are_imported_in_few_files() -> None:
    """A library that only an extra installs belongs to one corner, which says what to install."""
    core = names(PROJECT["dependencies"])
    owners = packages_distributions()
    outside = {
        top: files
        for top, files in imported().items()
        if top not in BROUGHT_ALONG and not {name.lower().replace("_", "-") for name in owners.get(top, [top])} & core
    }
    assert all(len(files) <= 2 for files in outside.values()), outside
    assert "matplotlib" not in outside
