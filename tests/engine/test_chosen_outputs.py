"""Tasks that take some outputs of a model: predictions and attacks see these alone, as on ImageNet-A."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import robustbench_wb as harness
from robustbench_wb.errors import DataError, SubjectError, UsageError
from robustbench_wb.models.chosen_outputs import ChosenOutputs, choose_outputs
from robustbench_wb.tasks.catalogue import find_task
from tests.tasks.test_pictures import picture

LABELS = ("ape", "bee", "cat")
COLUMNS = [2, 5, 11]
ATTACKS = (
    *("pgd-linf;eps=8/255;steps=5", "apgd-linf;eps=2/255;steps=5", "apgd-t-l2;eps=1/4;steps=5", "fab-linf;eps=8/255"),
    *("square-linf;eps=8/255;queries=30", "spsa-linf;eps=8/255;steps=2", "noise-linf;eps=8/255"),
)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Task of 24 images in three classes, which are the outputs 2, 5 and 11 of 12."""
    for at, label in enumerate(LABELS):
        for number in range(8):
            picture(tmp_path / "animals" / label / f"{number}.png", seed=8 * at + number, size=(8, 8))
    names = [f"other{number}" for number in range(12)]
    for label, column in zip(LABELS, COLUMNS, strict=True):
        names[column] = label
    (tmp_path / "names.txt").write_text("\n".join(names))
    return f"folder:{tmp_path / 'animals'};classes={tmp_path / 'names.txt'}"


def whole() -> nn.Sequential:
    """A model of 12 outputs that never answers with one of the three classes, because output 0 is always largest."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 16), nn.GELU(), nn.Linear(16, 12))
    head = layers[4]
    assert isinstance(head, nn.Linear)
    head.bias.data[0] = 50.0
    return layers


def sliced() -> nn.Sequential:
    """The model with a head of the three outputs alone."""
    layers = whole()
    last, head = layers[4], nn.Linear(16, 3)
    assert isinstance(last, nn.Linear)
    head.weight.data, head.bias.data = last.weight.data[COLUMNS], last.bias.data[COLUMNS]
    layers[4] = head
    return layers


def test_clean_accuracy_is_that_of_the_largest_chosen_logit(folder: str, tmp_path: Path) -> None:
    found = find_task(f"{folder};outputs=present").load(None)
    logits = whole()(torch.from_numpy(found.test.inputs / np.float32(255)).float())[:, COLUMNS]
    accuracy = (logits.argmax(1).numpy() == found.test.labels).mean()
    every, chosen = (
        harness.run(tasks=[task], variants={"m": whole()}, suite="clean", results=str(tmp_path / "r")).rows[0]
        for task in (folder, f"{folder};outputs=present")
    )
    assert (every.accuracy, every.classes) == (0.0, 12)
    assert 0 < accuracy == chosen.accuracy
    assert (chosen.task, chosen.classes) == ("animals;outputs=3 of 12", 3)
    assert chosen.key != every.key


@pytest.mark.slow(3)
def test_every_attack_sees_the_chosen_outputs_alone(folder: str, tmp_path: Path) -> None:
    tasks = {f"{folder};outputs=present": whole(), folder.partition(";")[0]: sliced()}
    chosen, alone = (
        [
            (row.signature, row.accuracy, row.status)
            for row in harness.run(
                tasks=[task], variants={"m": one}, stressors=ATTACKS, results=str(tmp_path / "r")
            ).rows
        ]
        for task, one in tasks.items()
    )
    assert chosen == alone
    assert len(chosen) == 1 + len(ATTACKS)
    assert {status for _, _, status in chosen} == {"ok"}
    assert len({accuracy for _, accuracy, _ in chosen}) > 2  # the attacks do something


def test_the_model_keeps_its_weights_and_the_last_choice_counts() -> None:
    own, inputs = whole(), torch.rand(2, 3, 8, 8)
    logits, names = own(inputs), list(own.state_dict())
    choose_outputs(own, ChosenOutputs(total=12, columns=(0, 1)))
    assert choose_outputs(own, ChosenOutputs(total=12, columns=tuple(COLUMNS))) is own
    assert torch.equal(own(inputs), logits[:, COLUMNS])
    assert list(own.state_dict()) == names
    with pytest.raises(SubjectError, match=r"returned shape \(2, 12\); expected \(B, 1000\), of which .* 2 outputs"):
        choose_outputs(own, ChosenOutputs(total=1000, columns=(0, 1)))(inputs)


def test_what_outputs_cannot_be_chosen_is_said(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outputs can only be present"):
        find_task(f"{folder};outputs=all")
    names = tmp_path / "few.txt"
    names.write_text("ape\nbee\n")
    with pytest.raises(DataError, match="has classes cat, which its class list lacks"):
        find_task(f"{folder.partition(';')[0]};classes={names};outputs=present").load(None)
    ids = tmp_path / "ids.txt"
    ids.write_text("cat/0.png\n")
    assert find_task(f"{folder};outputs=present;ids={ids}").load(None).classes == LABELS
    for label in LABELS[1:]:
        for path in (tmp_path / "animals" / label).iterdir():
            path.unlink()
    with pytest.raises(DataError, match="has one class, ape; with outputs=present nothing else can be answered"):
        find_task(f"{folder};outputs=present").load(None)


def test_nothing_is_trained_for_chosen_outputs(folder: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes some outputs of a trained model, and 'vit' is to be trained"):
        harness.run(tasks=[f"{folder};outputs=present"], variants=["vit"], results=str(tmp_path / "r"))


@pytest.mark.slow(4)
def test_images_in_memory_take_the_chosen_outputs_in_any_order() -> None:
    """Attacks and answers of ``evaluate(outputs=...)`` are those of a model with these outputs alone."""
    images = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = whole()
    for order in ([0, 1, 2], [2, 0, 1]):
        columns = [COLUMNS[place] for place in order]
        small = nn.Sequential(sliced(), _Reordered(order))
        labels = small(images).argmax(1)
        labels[:6] = (labels[:6] + 1) % 3
        chosen = harness.evaluate(model, images, labels, stressors=ATTACKS, outputs=columns)
        alone = harness.evaluate(small, images, labels, stressors=ATTACKS)
        assert (chosen.classes, chosen["clean"].accuracy) == (3, 0.8)
        for row, same in zip(chosen, alone, strict=True):
            np.testing.assert_array_equal(row.states, same.states)
        assert 0 < chosen["pgd-linf"].accuracy < 0.8
    assert model(images).shape == (30, 12)  # the model of the caller is as before


class _Reordered(nn.Module):
    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits[:, self.order]
