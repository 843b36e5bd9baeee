import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from deltalake import DeltaTable

from robustbench_wb.errors import StoreError
from robustbench_wb.store.location import create_table, prepare_location, table_uri
from robustbench_wb.store.provenance import collect_provenance, git_state
from robustbench_wb.store.record_rows import SCHEMA
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.known import a, known
from tests.store.make import record


def test_prepare_creates_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    prepare_location(str(tmp_path / "a" / "b"))
    prepare_location(str(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("tail", ["file", "file/below", "file/far/below"])
def test_a_file_in_the_way(tmp_path: Path, tail: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="file' is not a folder"):
        prepare_location(str(tmp_path / tail))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "away")
    with pytest.raises(StoreError, match="cannot"):
        prepare_location(str(tmp_path / "link"))


def test_a_read_only_place(tmp_path: Path) -> None:
    place = tmp_path / "locked"
    place.mkdir(mode=0o500)
    # The superuser can write anywhere except in the kernel's own file system.
    target = "/proc/results" if os.geteuid() == 0 else str(place)
    with pytest.raises(StoreError, match="cannot be written to") as caught:
        prepare_location(target)
    assert "\n" not in str(caught.value)


def test_a_name_that_no_file_system_takes() -> None:
    with pytest.raises(StoreError, match="cannot be written to"):
        prepare_location("a\0b")


@pytest.mark.parametrize("name", ["run[1]", "a|b", "a%20b", "a\\b", "a\nb", "a^b"])
def test_a_path_that_delta_lake_would_mangle_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    for attempt in (prepare_location, RecordStore, ScoreTable):
        with pytest.raises(StoreError, match="Delta Lake cannot handle"):
            attempt(str(tmp_path / name))
    assert list(tmp_path.iterdir()) == []


def test_errors_of_urls_are_ours() -> None:
    with pytest.raises(StoreError, match="cannot be written to 'nosuch://bucket/x': Unknown scheme: nosuch"):
        prepare_location("nosuch://bucket/x")
    assert table_uri("s3://bucket/folder/", "scores") == "s3://bucket/folder/scores"
    with pytest.raises(StoreError, match="'nosuch://"):
        ScoreTable("nosuch://bucket/x").rows()
    with pytest.raises(StoreError, match="cannot write results under 'nosuch://"):
        RecordStore("nosuch://bucket/x").append(record())


def test_provenance_is_plain_and_complete() -> None:
    found = collect_provenance(
        device="cpu",
        hardware={"cpu": "Some Processor"},
        seed=0,
        suite="adversarial",
        suite_version=1,
        spec={"scale": "smoke"},
        command="run",
    )
    packages = a(dict, found["packages"])
    assert packages["numpy"]
    assert packages.keys() >= {"torch", "robustbench_wb", "deltalake"}
    assert str(found["time"]).endswith("+00:00")
    assert found["hardware"] == {"cpu": "Some Processor"}
    assert found["spec"] == {"scale": "smoke"}


def test_git_state_only_of_a_folder_that_git_tracks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", *identity, "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert git_state(package) is None
    git("init", "-q")
    assert git_state(package) is None
    git("add", ".")
    assert git_state(package) is None
    git("commit", "-qm", "first")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    state = git_state(package)
    assert state is not None
    assert re.fullmatch("[0-9a-f]{40}", state["commit"])
    assert state["dirty"] is False
    (package / "new.py").write_text("")
    assert known(git_state(package))["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert git_state(package) is None


@pytest.mark.slow(5)
def test_what_reads_results_imports_no_torch_and_only_the_store_imports_delta() -> None:
    rooms = {
        "records": ["names", "record", "score_row"],
        "store": ["location", "provenance", "record_store", "score_table"],
        "stats": ["intervals", "paired"],
        "analysis": ["compare.compare_tables", "score"],
        "report": ["comparison", "csv", "json", "scores", "text_block"],
    }
    for room, modules in rooms.items():
        imports = ";".join(f"import robustbench_wb.{room}.{module}" for module in modules)
        # Delta Lake itself imports pandas; stats and report need neither.
        banned = "{'torch'}" if room == "store" else "{'torch','pandas','deltalake'}"
        code = f"{imports};import sys;print(sorted({banned} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", room


def test_of_many_creators_exactly_one_creates(tmp_path: Path) -> None:
    together = Barrier(4)

    def create(uri: str) -> int:
        together.wait()
        return create_table(uri, SCHEMA, {}).version()

    with ThreadPoolExecutor(4) as pool:
        for number in range(25):
            uri = str(tmp_path / str(number))
            assert list(pool.map(create, [uri] * 4)) == [0, 0, 0, 0]
            assert DeltaTable(uri).version() == 0
