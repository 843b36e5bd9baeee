"""Lazy registry: nothing is imported early, and a broken plug-in affects only its own name."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from robustbench_wb import registry as registry_module
from robustbench_wb.errors import RegistryError, UnknownNameError
from robustbench_wb.interrupts import watching_interrupts
from robustbench_wb.registry import Registry, suggest_names

GROUP = "robustbench_wb.things"


class Named:
    """Stand-in for an installed package, as entry points show it."""

    def __init__(self, name: str) -> None:
        self.name = name


def point(name: str, value: str, owner: str | None) -> EntryPoint:
    made = EntryPoint(name, value, GROUP)
    vars(made)["dist"] = Named(owner) if owner else None
    return made


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Registry[object]:
    points = [
        point("pi", "math:e", "rival"),
        point("tau", "math:tau", "plug"),
        point("twice", "math:e", "one"),
        point("twice", "math:pi", "two"),
        point("broken", "no_such_module:x", None),
    ]

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == GROUP
        return points

    monkeypatch.setattr(registry_module, "entry_points", entry_points)
    made: Registry[object] = Registry("thing")
    made.add("pi", "math:pi", "the circle's number")
    made.add("root", "math:sqrt", "a function")
    return made


def test_listing_shows_built_in_names_first_and_who_brought_the_others(things: Registry[object]) -> None:
    assert things.names() == ["pi", "root", "tau", "twice", "broken"]
    origins = {entry.name: entry.origin for entry in things}
    assert origins == {
        "pi": "built in",
        "root": "built in",
        "tau": "plug",
        "twice": "one",
        "broken": "unknown package",
    }
    assert "tau" in things
    assert "phi" not in things


def test_listing_imports_nothing() -> None:
    made: Registry[object] = Registry("thing")
    made.add("page", "this:s", "a module with a side effect")
    sys.modules.pop("this", None)
    assert [entry.summary for entry in made] == ["a module with a side effect"]
    assert "this" not in sys.modules


def test_names_load_and_are_kept(things: Registry[object]) -> None:
    import math

    assert things.get("root") is math.sqrt
    assert things.get("tau") == math.tau
    assert things.get("root") is things.get("root")


def test_duplicates_are_refused(things: Registry[object]) -> None:
    with pytest.raises(RegistryError, match="'pi' is registered twice: math:pi and math:e"):
        things.add("pi", "math:e", "again")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pi", r"robustbench_wb \(math:pi\) and rival \(math:e\)"),
        ("twice", r"one \(math:e\) and two \(math:pi\)"),
        ("broken", r"no_such_module:x\) cannot be loaded"),
    ],
)
def test_a_clash_or_a_broken_plug_in_harms_only_its_own_name(things: Registry[object], name: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        things.get(name)
    assert things.get("tau")


def test_a_missing_attribute_is_said() -> None:
    made: Registry[object] = Registry("thing")
    made.add("gone", "math:no_such_thing", "")
    with pytest.raises(RegistryError, match=r"thing 'gone' .* no_such_thing|no attribute"):
        made.get("gone")


def test_near_names_are_suggested(things: Registry[object]) -> None:
    with pytest.raises(UnknownNameError, match="unknown thing 'rot'; did you mean root"):
        things.get("rot")
    assert suggest_names("ROOT", ["root", "tau"]) == "did you mean root?"
    assert suggest_names("zzz", ["b", "a", "a"]) == "known: a, b"
    # A name that holds the whole word comes before names that are only spelt alike.
    assert suggest_names("jpeg", ["speckle", "jpeg-compression"]) == "did you mean jpeg-compression?"
    assert suggest_names("PGD", ["pgd-linf", "apgd-linf", "pgd-l2"]) == "did you mean pgd-linf or pgd-l2?"


@pytest.mark.parametrize("raised", ["SystemExit(0)", "KeyboardInterrupt", "GeneratorExit", "ValueError('no')"])
def test_a_plug_in_that_ends_the_process_at_its_import_is_one_line(
    raised: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ending_plug_in.py").write_text(f"print('hello')\nraise {raised}")
    monkeypatch.syspath_prepend(tmp_path)
    made: Registry[object] = Registry("thing")
    made.add("ending", "ending_plug_in:x", "ends the process")
    with watching_interrupts(), pytest.raises(RegistryError, match=r"thing 'ending' .* cannot be loaded"):
        made.get("ending")
    assert not capsys.readouterr().out
