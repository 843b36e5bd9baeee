"""``merge`` through the command: shards of one suite become what one run of all would have been."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.make import record
from tests.store.test_merge import made, place

Command = Callable[..., tuple[str, str]]
RUN = ("run", "--samples", "24", "--recipe", "none", "--stressor", "fgsm-linf;eps=8/255", "--progress", "none")
TIMES = {"seconds", "train_seconds", "checksum"}  # the last is that of the others, too


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: Command) -> Command:
    monkeypatch.chdir(tmp_path)
    return typed


@pytest.mark.slow(2)
def test_shards_become_what_one_run_of_all_would_have_been(command: Command) -> None:
    command(*RUN, "--variant", "vit", "--results", "one")
    command(*RUN, "--variant", "crate", "--results", "other")
    command(*RUN, "--variant", "vit", "--variant", "crate", "--results", "whole")
    out, _ = command("merge", "one", "other", "--results", "all")
    rows = [[shown.model_dump(exclude=TIMES) for shown in ScoreTable(name).rows()] for name in ("all", "whole")]
    assert rows[0] == rows[1]
    keys = [RecordStore(name).keys() for name in ("all", "whole")]
    assert keys[0] == keys[1]
    assert out == f"merged one (v1), other (v1): {len(rows[0])} rows, {len(keys[0])} records, now v1\n"
    content = json.loads(command("diff", "whole", "all", "--json")[0])
    assert {pair["reason"] for pair in content["pairs"]} == {"the same record"}
    assert content["added"] == content["removed"] == []
    assert command("merge", "one", "other", "--results", "all")[0].endswith(": nothing new\n")
    assert command("merge", "whole", "--results", "all")[0] == "merged whole (v1): nothing new\n"
    assert "merged" in command("show", "v1", "--results", "all", "--full")[0]
    # The merged place knows every outcome: nothing is measured again.
    again = json.loads(command(*RUN, "--variant", "vit", "--results", "all", "--json")[0])
    assert again["version"] == 2


def test_5_names_what_is_not_deterministic(command: Command) -> None:
    one, shown = made("vit", [0] * 40)
    place(Path("results"), (one, shown))
    place(Path("other"), (record([1] * 30 + [0] * 10, weights="vit"), shown))
    out, _ = command("merge", "other", code=5)
    cell = "digits small adversarial: vit-nano plain seed 0, pgd-linf@8/255"
    assert f"not deterministic: {cell}: other has different" in out
    assert "; samples 0, 1, 2, " in out
    assert "19 and 10 more; the first record is kept" in out
    content = json.loads(command("merge", "other", "--json", code=5)[0])
    assert content["exit_code"] == 5
    assert content["unsteady"][0]["ids"] == list(range(30))


def test_3_names_conflicts(command: Command) -> None:
    place(Path("results"), made("vit", weights="old"))
    place(Path("other"), made("vit", weights="new", signature="pgd-linf;eps=8/255;steps=100"))
    out, _ = command("merge", "other", code=3)
    assert "other has another measurement (signature, weights differ); the existing row is kept; decide" in out
    out, _ = command("merge", "other", "--prefer", "theirs")
    assert "1 row, now v2" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no results under 'nowhere' yet"),
        (("other", "--prefer", "me"), "--prefer me: it is mine or theirs"),
        ((), "Missing argument"),
        (("other", "--results", "file"), "is not a folder"),
    ],
)
def test_2_mistakes_are_one_clear_line(arguments: tuple[str, ...], words: str, command: Command) -> None:
    place(Path("other"), made("vit"))
    Path("file").touch()
    out, err = command("merge", *arguments, code=2)
    assert words in err
    assert (out, err.count("\n")) == ("", 1)
