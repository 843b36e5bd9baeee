"""Two machines that carry out the same run at once, with results and cache in an object store that dies in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from tests.store.clients import Server, client, run_twice
from tests.store.conftest import make_bucket, use_server

JOB = ("--variant", "vit", "--recipe", "standard;epochs=2", "--stressor", "pgd-linf;eps=8/255;steps=10")
SLOWLY = {"RBWB_SHARD_SECONDS": "0.5"}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server with one empty bucket, whose address is in the environment."""
    found = Server(tmp_path)
    use_server(found.wire.port, monkeypatch)
    make_bucket(found.wire.port)
    yield found
    found.kill()


@pytest.mark.slow(60)
def test_two_machines_and_a_server_that_dies(server: Server, tmp_path: Path) -> None:
    run_twice(server, tmp_path, job=JOB, variables=SLOWLY, away=5)
    store, table = RecordStore("s3://bucket/results"), ScoreTable("s3://bucket/results")
    versions = [table.rows(number) for number in (1, 2)]
    assert [row.key for row in versions[0]] == [row.key for row in versions[1]]
    assert {row.key for row in versions[0]} <= set(store.keys())
    assert store.damaged() == []
    alone = tmp_path / "alone"
    one = client(alone, str(tmp_path / "results"), job=JOB, variables=SLOWLY)
    assert one.wait(600) == 0, (alone / "said").read_text()
    kept = RecordStore(str(tmp_path / "results"))
    wanted, found = kept.find(kept.keys()), store.find(store.keys())
    assert wanted.keys() == found.keys()
    assert all(wanted[key].states.tobytes() == found[key].states.tobytes() for key in wanted)
