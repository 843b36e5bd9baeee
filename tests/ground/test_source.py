"""Code digests: formatting does not change them, any other edit of a module or its imports does."""

import sys
from pathlib import Path

import pytest

from robustbench_wb.source import code_digest

MAIN = '''"""Docs."""
from pkg.helper import factor
from . import other


def scale(x: float) -> float:
    """More docs."""
    # a remark
    return x * factor(2)
'''
HELPER = "def factor(n):\n    return n + 1\n"
OTHER = "LIMIT = 10\n"


def package(folder: Path, main: str = MAIN, helper: str = HELPER, other: str = OTHER, unused: str = "") -> str:
    root = folder / "pkg"
    root.mkdir(parents=True)
    (root / "__init__.py").write_text("")
    for name, text in (("main", main), ("helper", helper), ("other", other), ("unused", unused)):
        (root / f"{name}.py").write_text(text)
    return code_digest("pkg.main", root=root)


@pytest.mark.parametrize(
    "edit",
    [
        {"main": MAIN.replace("# a remark", "# quite another")},
        {"main": MAIN.replace('"""Docs."""', '"""Other docs,\n\nlonger."""')},
        {"main": MAIN.replace('    """More docs."""\n', "")},
        {"main": MAIN.replace("x * factor(2)", "(x\n        * factor( 2 ))")},
        {"main": MAIN.replace("\n\n\ndef", "\n\n\n\n\ndef")},
        {"helper": HELPER.replace("    return", "  return")},
        {"unused": "X = 1"},
    ],
)
def test_layout_and_strangers_do_not_count(tmp_path: Path, edit: dict[str, str]) -> None:
    assert package(tmp_path / "a") == package(tmp_path / "b", **edit)


@pytest.mark.parametrize(
    "edit",
    [
        {"main": MAIN.replace("factor(2)", "factor(3)")},
        {"main": MAIN.replace("factor(2)", "factor(2.0)")},
        {"main": MAIN.replace("factor(2)", "factor(True)")},
        {"main": MAIN.replace("x * factor", "x + factor")},
        {"helper": HELPER.replace("n + 1", "n + 2")},
        {"other": "LIMIT = 11"},
        {"other": "LIMIT = '10'"},
    ],
)
def test_what_code_does_counts_in_the_file_and_in_its_helpers(tmp_path: Path, edit: dict[str, str]) -> None:
    assert package(tmp_path / "a") != package(tmp_path / "b", **edit)


def test_order_of_names_does_not_count_and_more_modules_do(tmp_path: Path) -> None:
    alone = package(tmp_path)
    root = tmp_path / "pkg"
    assert code_digest("pkg.main", "pkg.unused", root=root) == code_digest("pkg.unused", "pkg.main", root=root)
    assert code_digest("pkg.main", "pkg.unused", root=root) != alone
    assert code_digest("pkg.main", "pkg.helper", root=root) == alone  # main imports helper


def test_a_users_file_and_its_siblings(tmp_path: Path) -> None:
    def write(folder: str, value: int) -> str:
        root = tmp_path / folder
        root.mkdir()
        (root / "model.py").write_text("import torch\nfrom near import VALUE\n")
        (root / "near.py").write_text(f"VALUE = {value}")
        return code_digest("model", root=root)

    assert write("a", 1) == write("b", 1) != write("c", 2)


def test_an_installed_file_is_followed_into_its_own_distribution_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(folder: str, sibling: str, stranger: str) -> str:
        root = tmp_path / folder
        root.mkdir()
        (root / "mine.py").write_text("import stranger\nfrom sibling import X\n")
        (root / "sibling.py").write_text(sibling)
        (root / "stranger.py").write_text(stranger)
        for name, modules in {"mine": "mine\nsibling\n", "stranger": "stranger\n"}.items():
            info = root / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "top_level.txt").write_text(modules)
        monkeypatch.setattr(sys, "path", [str(root), *sys.path])
        return code_digest("mine", root=root)

    first = install("a", "X = 1", "X = 1")
    assert install("b", "X = 1", "X = " + "-" * 5000 + "1") == first  # a stranger too deep to be read
    assert install("c", "X = 2", "X = 1") != first


def test_a_missing_module_is_said(tmp_path: Path) -> None:
    package(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"pkg\.nothing"):
        code_digest("pkg.nothing", root=tmp_path / "pkg")


def test_words_of_messages_and_names_do_not_count_in_this_package() -> None:
    assert code_digest("robustbench_wb.rng") == code_digest("robustbench_wb.rng", "robustbench_wb.errors")
