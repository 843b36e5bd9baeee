"""docs/architecture.md and CONTRIBUTING.md name code that exists, and a newcomer's questions take few files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "robustbench_wb"
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`([\w./-]+\.(?:py|toml|json))(?::(\w+))?`")
QUESTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##)", ARCHITECTURE, re.MULTILINE | re.DOTALL))


def references(text: str) -> list[tuple[str, str]]:
    """Files in backticks, each with the name in it or an empty text."""
    return [(path, name) for path, name in REFERENCE.findall(text) if path != "your.toml"]


@pytest.mark.parametrize(("path", "name"), sorted({*references(ARCHITECTURE), *references(CONTRIBUTING)}))
def test_named_code_exists(path: str, name: str) -> None:
    found = [base / path for base in (PACKAGE, ROOT) if (base / path).is_file()]
    assert found, path
    defined = re.compile(rf"^(?:class {name}\b|def {name}\b|{name}\b.*=)", re.MULTILINE)
    assert not name or defined.search(found[0].read_text(encoding="utf-8")), f"{path} defines no {name}"


def test_five_questions_are_answered() -> None:
    assert len(QUESTIONS) == 5


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_a_question_takes_few_files(question: str) -> None:
    files = {path for path, _ in references(QUESTIONS[question])}
    assert 1 <= len(files) <= (4 if "PGD" in question else 3)
