"""Checkpoint files: read back exactly, refused when they are something else, whole or not there."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustbench_wb.errors import CheckpointError
from robustbench_wb.folders import write_atomic
from robustbench_wb.models.weights import weights_digest
from robustbench_wb.training.checkpoint import (
    CheckpointCard,
    load_checkpoint,
    load_tensors,
    load_weights,
    save_checkpoint,
)
from tests.training.small_runs import Net, build


def saved(folder: Path) -> Path:
    model, path = build(), folder / "net.safetensors"
    card = CheckpointCard(
        weights=weights_digest(model.state_dict()), seconds=1.5, steps=3, final_loss=0.25, identity={"a": 1}
    )
    save_checkpoint(path, model, card)
    return path


def test_round_trip_with_tied_weights(tmp_path: Path) -> None:
    path = saved(tmp_path)
    found = load_checkpoint(path)
    assert found is not None
    tensors, card = found
    assert (card.seconds, card.steps, card.final_loss, card.identity) == (1.5, 3, 0.25, {"a": 1})
    assert weights_digest(tensors) == card.weights == weights_digest(build().state_dict())
    model = build(seed=9)
    load_weights(model, tensors, path)
    assert weights_digest(model.state_dict()) == card.weights
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.json", "net.safetensors"]


def test_incomplete_is_absent(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.with_suffix(".json").unlink()
    assert load_checkpoint(path) is None
    assert load_checkpoint(tmp_path / "none.safetensors") is None
    path.unlink()
    path.with_suffix(".json").write_text("{}")
    assert load_checkpoint(path) is None


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for where in range(0, len(whole), 23):
        path.write_bytes(whole[:where] + bytes([whole[where] ^ 0x41]) + whole[where + 1 :])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    path.write_bytes(whole)
    assert load_checkpoint(path) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"weights": 1}', "\ufffd"])
def test_damaged_cards(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path)
    path.with_suffix(".json").write_bytes(text.encode("utf-16"))
    with pytest.raises(CheckpointError, match="the card of checkpoint"):
        load_checkpoint(path)


def test_a_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        saved(tmp_path / "no folder")


@pytest.mark.parametrize("extra", range(64))
def test_no_sound_file_is_taken_for_a_pickle(tmp_path: Path, extra: int) -> None:
    """The header length comes first; one in 32 ends in the byte with which pickles begin."""
    path = tmp_path / "x.safetensors"
    save_file({"a" * (extra * 4 + 1): torch.zeros(2)}, path)
    assert len(load_tensors(path)) == 1


def test_some_sound_file_begins_like_a_pickle(tmp_path: Path) -> None:
    heads = set()
    for extra in range(64):
        save_file({"a" * (extra * 4 + 1): torch.zeros(2)}, tmp_path / "x")
        heads.add((tmp_path / "x").read_bytes()[0])
    assert 0x80 in heads


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    pickled, zipped, text, empty = (tmp_path / name for name in ("pickled", "zipped", "text", "empty"))
    pickled.write_bytes(pickle.dumps({"a": 1}))
    torch.save({"a": torch.zeros(1)}, zipped)
    text.write_text("weights: none")
    empty.write_bytes(b"")
    cut = saved(tmp_path)
    cut.write_bytes(cut.read_bytes()[:-5])
    for path, reason in (
        (tmp_path / "none", "does not exist"),
        (tmp_path, "does not exist"),
        (pickled, "is a pickle, which can run code"),
        (zipped, "is a pickle, which can run code"),
        (text, "is not a readable safetensors file"),
        (empty, "is not a readable safetensors file"),
        (cut, "is not a readable safetensors file"),
    ):
        with pytest.raises(CheckpointError, match=reason) as caught:
            load_tensors(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)

    def __init__(self, place: Path) -> None:
        self.place = place


@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_is_never_run(tmp_path: Path, zipped: bool) -> None:
    path, trap = tmp_path / "x", Trap(tmp_path / "sprung")
    if zipped:
        torch.save(trap, path)
    else:
        path.write_bytes(pickle.dumps(trap))
    with pytest.raises(CheckpointError, match="is a pickle"):
        load_tensors(path)
    assert not (tmp_path / "sprung").exists()


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    own = build().state_dict()
    missing = {name: tensor for name, tensor in own.items() if not name.startswith("first")}
    for tensors, reason in (
        (missing, "lacks 'first.bias' and 1 more"),
        (own | {"zeta": torch.zeros(1)}, "has the unknown 'zeta'"),
        (own | {"first.bias": torch.zeros(11)}, "has another shape for 'first.bias'"),
        ({}, "lacks 'first.bias' and "),
    ):
        model = build()
        with pytest.raises(CheckpointError, match=f"does not fit the model: it {reason}"):
            load_weights(model, tensors, tmp_path / "x")
        assert weights_digest(model.state_dict()) == weights_digest(own)


# --- write_atomic ---


def test_a_writer_that_raises_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError):
        write_atomic(path, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"
    write_atomic(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "file", lambda temporary: temporary.write_text("x"))
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_cards_are_plain_json(tmp_path: Path) -> None:
    card = json.loads(saved(tmp_path).with_suffix(".json").read_text())
    assert set(card) == {"weights", "seconds", "steps", "final_loss", "identity"}


def test_the_toy_net_is_tied() -> None:
    model = Net()
    assert isinstance(model, nn.Module)
    assert model.tied.weight is model.middle.weight
