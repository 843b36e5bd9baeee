"""Per-sample logs of lm-evaluation-harness and inspect_ai as the two tables of ``diff`` and ``gate``."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from robustbench_wb.api.compare import compare
from robustbench_wb.store.sample_logs.find_log import find_log
from tests.known import known

Typed = Callable[..., tuple[str, str]]
Write = Callable[..., str]
GOOD = [1.0] * 10
WORSE = [0.0] * 6 + [1.0] * 4  # exact McNemar, 6 lost and 0 gained: p = 2 / 2^6 = 0.03125


def lm_eval(folder: Path, values: Sequence[object], **changes: object) -> str:
    """Log with the metric ``acc`` and a partial score ``f1``, in the layout of lm-evaluation-harness."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / str(changes.get("name", "samples_sums_2026-01-02T03-04-05.678.jsonl"))
    lines = [
        {
            "doc_id": number + int(str(changes.get("first", 0))),
            "doc": {"question": f"{number} + 1"},
            "target": str(number + 1),
            "filter": changes.get("filter", "none"),
            "metrics": ["acc", "f1"],
            "doc_hash": f"doc {number} {changes.get('document', '')}",
            "prompt_hash": f"prompt {number} {changes.get('prompt', '')}",
            "target_hash": f"target {number}",
            "acc": value,
            "f1": 0.25,
        }
        for number, value in enumerate(values)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = {"model_name": changes.get("model", "one"), "n-shot": {"sums": 5}, "config": {}, "versions": {}}
    (folder / "results_2026-01-02T03-04-05.678.json").write_text(json.dumps(results))
    return str(path)


def inspect_log(values: Sequence[object], **changes: object) -> dict[str, object]:
    letters = {1.0: "C", 0.0: "I"}
    samples = [
        {
            "id": f"sample {number}",
            "epoch": epoch,
            "input": f"{number} + 1",
            "target": str(number + 1),
            "scores": {"match": {"value": letters.get(value, value) if isinstance(value, float) else value}},
            **({"error": {"message": "timeout"}, "scores": None} if value is None else {}),
        }
        for epoch in range(1, int(str(changes.get("epochs", 1))) + 1)
        for number, value in enumerate(values)
    ]
    spec = {"task": "pkg/sums", "model": changes.get("model", "one"), "dataset": {}, "config": {}}
    return {"version": 2, "status": "success", "eval": spec, "samples": samples}


def inspect_json(folder: Path, values: Sequence[object], **changes: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.json").write_text(json.dumps(inspect_log(values, **changes)))
    return str(folder / "log.json")


def inspect_eval(folder: Path, values: Sequence[object], **changes: object) -> str:
    """The same log as a zip file, with Zstandard as inspect_ai writes it since 2025."""
    folder.mkdir(parents=True, exist_ok=True)
    log = inspect_log(values, **changes)
    samples = log.pop("samples")
    assert isinstance(samples, list)
    members = {"header.json": log, **{f"samples/{one['id']}_epoch_{one['epoch']}.json": one for one in samples}}
    (folder / "log.eval").write_bytes(zstandard_zip({name: json.dumps(value) for name, value in members.items()}))
    return str(folder / "log.eval")


def zstandard_zip(members: dict[str, str]) -> bytes:
    """Zip file with members of method 93, which ``zipfile`` cannot write before Python 3.14."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, pa.compress(text.encode(), codec="zstd", asbytes=True))
    content = bytearray(target.getvalue())
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        at = archive.start_dir
        for info, text in zip(archive.infolist(), members.values(), strict=True):
            facts = struct.pack("<III", zlib.crc32(text.encode()), info.compress_size, len(text.encode()))
            for place, method, crc in ((info.header_offset, 8, 14), (at, 10, 16)):
                content[place + method : place + method + 2] = struct.pack("<H", 93)
                content[place + crc : place + crc + 12] = facts
            at += 46 + len(info.filename)
    return bytes(content)


@pytest.mark.parametrize("write", [lm_eval, inspect_json, inspect_eval])
def test_logs_are_compared_sample_by_sample(write: Write, tmp_path: Path, typed: Typed) -> None:
    old, new = write(tmp_path / "old", GOOD), write(tmp_path / "new", WORSE, model="two")
    found = compare(old, new)
    [pair] = found.pairs
    assert (pair.n, pair.lost, pair.gained, pair.p) == (10, 6, 0, pytest.approx(0.03125))
    assert pair.verdict == "worse"
    assert found.notes[0] == "model: one and two"
    assert found.sample_name(pair.lost_ids[0]).startswith(("0:", "sample 0:"))
    assert "worse" in typed("diff", old, new, "--ids")[0]
    assert "regressed" in typed("gate", "--baseline", old, "--version", new, code=1)[0]
    assert "passed" in typed("gate", "--baseline", old, "--version", old)[0]
    assert "sample_names" in json.loads(typed("diff", old, new, "--json", "--ids")[0])


def test_the_formats_of_inspect_ai_name_the_same_samples(tmp_path: Path) -> None:
    found = compare(inspect_json(tmp_path, GOOD, epochs=2), inspect_eval(tmp_path, WORSE, epochs=2))
    assert [pair.new.cell for pair in found.pairs] == ["match@epoch 1", "match@epoch 2"]
    [overall] = found.claims
    # Two epochs of ten samples are ten clusters, not twenty independent samples.
    assert (overall.samples, overall.difference) == (10, pytest.approx(-0.6))


def test_a_failed_sample_is_unjudged_and_never_correct(tmp_path: Path) -> None:
    [pair] = compare(inspect_json(tmp_path / "a", GOOD), inspect_json(tmp_path / "b", [None, *GOOD[1:]])).pairs
    assert (pair.unjudged, pair.lost, pair.new.errored, pair.new.accuracy) == (1, 0, 1, 0.9)
    assert pair.verdict == "incomplete"


@pytest.mark.parametrize(
    ("changes", "reason", "note"),
    [
        (
            {"name": "samples_products_2026-01-02T03-04-05.678.jsonl"},
            "data: sums and products",
            "task: sums and products",
        ),
        ({"document": "edited"}, "samples: ", "10 and 10 samples, 0 in both logs"),
        ({"first": 1}, "samples: ", "10 and 10 samples, 0 in both logs"),
        ({"prompt": "longer"}, "", "the prompts of 10 of 10 common samples differ"),
    ],
)
def test_what_differs_between_logs_is_named(
    changes: dict[str, str], reason: str, note: str, tmp_path: Path, typed: Typed
) -> None:
    old, new = lm_eval(tmp_path / "old", GOOD), lm_eval(tmp_path / "new", WORSE, **changes)
    [pair] = compare(old, new).pairs
    assert pair.reason.startswith(reason)
    out, _ = typed("diff", old, new, code=3 if reason else 0)
    assert note in out
    assert "left out, because not 0 or 1 for every sample: f1" in out
    typed("gate", "--baseline", old, "--version", new, code=3 if reason else 1)


def test_a_shorter_log_is_compared_on_the_common_samples_when_allowed(tmp_path: Path, typed: Typed) -> None:
    old, new = lm_eval(tmp_path / "old", GOOD), lm_eval(tmp_path / "new", WORSE[:8])
    out, _ = typed("diff", old, new, code=3)
    assert "10 and 8 samples, 8 in both logs" in out
    [pair] = compare(old, new, allow=["samples"]).pairs
    assert (pair.n, pair.lost) == (8, 6)


def test_filters_are_cells_and_a_metric_of_partial_scores_is_left_out(tmp_path: Path) -> None:
    path = lm_eval(tmp_path, GOOD, filter="strict-match")
    [pair] = compare(path, path).pairs
    assert pair.new.cell == "acc@strict-match"


@pytest.mark.parametrize(
    ("value", "number"),
    [("C", 1), ("I", 0), ("N", 0), ("yes", 1), ("False", 0), ("1.0", 1), (True, 1), (0, 0)],
)
def test_values_of_inspect_ai(value: object, number: float, tmp_path: Path) -> None:
    log = known(find_log(inspect_json(tmp_path, [value])))
    assert list(log.cells["match", ""].values()) == [number]


def test_a_scorer_of_several_values_has_a_metric_each(tmp_path: Path) -> None:
    log = known(find_log(inspect_json(tmp_path, [{"right": 1, "polite": 0}])))
    assert sorted(metric for metric, _ in log.cells) == ["match/polite", "match/right"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"doc_id": 1, "acc": 1.0}\n{"doc_id": 2, "ac', "line 2 is not a sample"),
        ("a.jsonl", b'{"doc_id": 1, "acc": 1.0}\n{"doc_id": 1, "acc": 1.0}', "document 1 occurs twice"),
        ("a.jsonl", b'{"doc_id": 1, "f1": 0.5}', "no metric that is 0 or 1"),
        ("a.jsonl", b"", "none at all"),
        ("a.eval", b"PK\x03\x04 cut", "not a log of inspect_ai, or it is cut off"),
        ("a.json", b'{"eval": {"task": "t"}, "samples": [{"epoch": 1}]}', "damaged log of inspect_ai: KeyError: 'id'"),
        ("a.jsonl", b"[1]", "line 1 is not a sample"),
        ("a.jsonl", b'{"doc_id": 1, "metrics": "acc", "acc": 1}', "line 1 is not a sample"),
        ("a.jsonl", b'{"doc_id": 1, "acc": 1' + b"0" * 400 + b"}", "no metric that is 0 or 1"),
        ("a.json", b'{"eval": {"task": "t"}, "samples": 3}', "damaged log of inspect_ai"),
        ("a.json", b'{"eval": {"task": "t"}, "samples": [{"id": 1, "epoch": 1e999}]}', "damaged log of inspect_ai"),
        ("a.json", b'{"eval": {"task": "t"}, "samples": [{"id": 1}, {"id": 1}]}', "sample 1 occurs twice in epoch 1"),
        ("a.eval", zstandard_zip({"header.json": "{}", "samples/1.json": "[" * 100_000}), "damaged log of inspect_ai"),
        ("a.json", b'{"rows": 3}', "is not a table that `leaderboard` wrote"),
    ],
)
def test_damaged_logs_are_one_line(name: str, content: bytes, message: str, tmp_path: Path, typed: Typed) -> None:
    (tmp_path / name).write_bytes(content)
    _, err = typed("diff", str(tmp_path / name), str(tmp_path / name), code=2)
    assert message in err
    assert err.count("\n") == 1


def test_a_damaged_member_of_a_zip_file_is_found(tmp_path: Path, typed: Typed) -> None:
    path = Path(inspect_eval(tmp_path, GOOD))
    content = bytearray(path.read_bytes())
    at = content.index(b"\x28\xb5\x2f\xfd", content.index(b"samples/sample 9"))
    content[at + 20] ^= 1
    path.write_bytes(content)
    assert "damaged" in typed("diff", str(path), str(path), code=2)[1]


def test_a_log_is_not_compared_with_a_table(tmp_path: Path, typed: Typed) -> None:
    log = lm_eval(tmp_path, GOOD)
    assert (
        "is a log of another tool and 'v1' is not, or is cut off; compare two logs"
        in typed("diff", "v1", log, code=2)[1]
    )
    assert "there is no file" in typed("diff", str(tmp_path / "none.jsonl"), log, code=2)[1]


def test_an_unfinished_log_counts_the_samples_that_it_lacks(tmp_path: Path) -> None:
    log = inspect_log(GOOD[:8])
    log |= {"status": "cancelled", "eval": {"task": "sums", "dataset": {"sample_ids": list(range(10))}}}
    (tmp_path / "cut.json").write_text(json.dumps(log))
    assert known(find_log(str(tmp_path / "cut.json"))).requested == 10
