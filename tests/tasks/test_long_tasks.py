"""Long-sequence tasks from files: grey pixels, document pairs, and reviews as bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robustbench_wb.errors import DataError
from robustbench_wb.models.batching import text_lengths, trim_padding
from robustbench_wb.models.shape import PAD
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.document_pairs import LRA_RETRIEVAL, ReviewPairsTask
from robustbench_wb.tasks.hub_text import TextTask
from robustbench_wb.tasks.pathfinder.parameters import EASY
from robustbench_wb.tasks.pathfinder.trace import trace_labels
from robustbench_wb.tasks.pathfinder_task import PathfinderTask
from robustbench_wb.tasks.pixel_tokens import level_tokens, published_tokens
from robustbench_wb.tasks.task_tokenizer import CLS, SEP


def test_no_pixel_passes_for_padding_except_as_published() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    own, published = level_tokens(images), published_tokens(images)
    assert own[0, 0] == CLS
    assert (own != PAD).all()
    assert len(set(own[0, 1:].tolist())) == 256
    assert published[0, 0] == 256
    assert (published == PAD).sum() == 1
    assert published[0, 1:].tolist() == list(range(256))


def test_padding_inside_a_row_does_not_end_it() -> None:
    rows = torch.tensor([[7, 0, 0, 3, 0, 0], [7, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    assert text_lengths(rows).tolist() == [4, 1, 0]
    assert trim_padding(rows).shape == (3, 4)
    assert text_lengths(rows[:, :0]).tolist() == [0, 0, 0]


def write_reviews(folder: Path, train: list[str], test: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "imdb").mkdir(parents=True)
    for name, texts in (("train", train), ("test", test)):
        labels = [row % 2 for row in range(len(texts))]
        label = {"names": ["neg", "pos"], "_type": "ClassLabel"}
        features = {"text": {"dtype": "string", "_type": "Value"}, "label": label}
        info = json.dumps({"info": {"features": features}})
        table = pa.table({"text": texts, "label": labels}).replace_schema_metadata({"huggingface": info})
        pq.write_table(table, folder / "imdb" / f"{name}-00000-of-00001.parquet")


@pytest.fixture
def mirror(tmp_path: Path) -> str:
    texts = [f"review {row} begins here and it ends there {row}" for row in range(40)]
    write_reviews(tmp_path, texts, ["", "x" * 300, *texts[:8]])
    return str(tmp_path)


def test_halves_of_reviews(mirror: str) -> None:
    dataset = ReviewPairsTask("pairs", 64).load(mirror)
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (36, 4, 10)
    assert dataset.train.inputs.shape == (36, 128)
    for row, label in zip(dataset.train.inputs, dataset.train.labels.tolist(), strict=True):
        first, second = (bytes(int(token) - 5 for token in half if token > 4).decode() for half in (row[:64], row[64:]))
        assert row[0] == row[64] == CLS
        assert first.startswith("review")
        assert second.endswith(second.split()[-1])
        assert (first.split()[1] == second.split()[-1]) == bool(label)
    assert dataset.test.token_counts is not None
    assert (
        sorted(dataset.test.token_counts.tolist())[-1] > 128
    )  # a review of 300 letters without spaces has no second half


def test_a_share_is_held_out_and_what_is_cut_is_known(mirror: str) -> None:
    task = find_task("text-bytes-256")
    assert isinstance(task, TextTask)
    dataset = task.load(mirror)
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation)) == (36, 4)
    assert not set(dataset.train.texts) & set(dataset.validation.texts)
    assert dataset.test.token_counts is not None
    assert dataset.test.token_counts[:2].tolist() == [2, 302]
    assert dataset.test.inputs[0, :3].tolist() == [CLS, SEP, PAD]
    assert dataset.on_validation().label == "text-bytes-256-validation"
    whole = find_task("lra-text").load(mirror)
    assert len(whole.train) == 40
    with pytest.raises(DataError, match="has no validation split"):
        whole.on_validation()


def test_published_pairs_are_read_from_the_users_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs aan/new_aan_pairs\.train\.tsv"):
        LRA_RETRIEVAL.load(str(tmp_path))
    (tmp_path / "aan").mkdir()
    for part in ("train", "eval", "test"):
        lines = ["1.0\tA1\tA2\t'one paper'\t'another paper'", "0.0\tA1\tA3\tone\tother"]
        (tmp_path / "aan" / f"new_aan_pairs.{part}.tsv").write_text("\n".join(lines))
    dataset = LRA_RETRIEVAL.load(str(tmp_path))
    assert dataset.train.labels.tolist() == [1, 0]
    assert dataset.train.inputs.shape == (2, 8000)
    (tmp_path / "aan" / "new_aan_pairs.test.tsv").write_text("1.0\tA1\tA2\tonly one text")
    with pytest.raises(DataError, match="line 1: expected label, two ids and two texts"):
        LRA_RETRIEVAL.load(str(tmp_path))


@pytest.mark.slow(3)
def test_pathfinder_shows_the_same_images_in_both_flavours() -> None:
    own, published = (
        PathfinderTask("tiny", EASY, train=300, test=100, published=flag).load(None) for flag in (False, True)
    )
    assert own.validation is not None
    assert (len(own.train), len(own.validation), len(own.test)) == (300, 100, 100)
    assert own.test.inputs.shape == (100, 1025)
    assert own.test.labels.mean() == 0.5
    np.testing.assert_array_equal(own.test.inputs[:, 1:] - 5, published.test.inputs[:, 1:])
    assert (own.test.inputs != PAD).all()
    assert (published.test.inputs == PAD).mean() > 0.5
    images = (own.test.inputs[:, 1:] - 5).astype(np.uint8).reshape(100, 32, 32)
    np.testing.assert_array_equal(trace_labels(images, EASY), own.test.labels)
