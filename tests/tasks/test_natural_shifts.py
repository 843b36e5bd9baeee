"""Layouts of ImageNet-A, -R, -V2, -Sketch and ObjectNet in miniature, as docs/tasks.md says to run them."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import robustbench_wb as harness
from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.models.chosen_outputs import MergedOutputs, choose_outputs
from robustbench_wb.tasks.catalogue import find_task
from tests.tasks.test_pictures import picture

IDS = [f"n{number:08d}" for number in range(12)]
"""WordNet ids of the twelve outputs of a small ImageNet."""


def wordnet_list(folder: Path) -> Path:
    path = folder / "wordnet.txt"
    path.write_text("\n".join(IDS))
    return path


class Brightness(nn.Module):
    """Model of twelve outputs: the logit of output k falls with the distance of the mean level to k / 11."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.flatten(1).mean(1, keepdim=True) - torch.arange(12) / 11).abs()


def plain(path: Path, output: float, size: int = 8) -> None:
    """Write a picture of one grey, to which the model above answers with an output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (round(255 * output / 11),) * 3).save(path)


@pytest.mark.parametrize("protocol", ["sketch: all outputs", "a and r: outputs of the folder"])
def test_folders_of_wordnet_ids(protocol: str, tmp_path: Path) -> None:
    """Sketch has all classes and A and R some of them, whose logits alone are compared."""
    plain(tmp_path / "shift" / IDS[2] / "a.png", 2)
    plain(tmp_path / "shift" / IDS[7] / "b.png", 4)  # the model answers 4; among 2 and 7, it answers 2
    plain(tmp_path / "shift" / IDS[7] / "c.png", 6)  # the model answers 6; among 2 and 7, it answers 7
    some = protocol.startswith("a")
    task = f"folder:{tmp_path / 'shift'};classes={wordnet_list(tmp_path)}" + ";outputs=present" * some
    (row,) = harness.run(tasks=[task], variants={"m": Brightness()}, suite="clean", results=str(tmp_path / "r")).rows
    assert (row.robust, row.n, row.classes) == ((2, 3, 2) if some else (1, 3, 12))
    assert row.task == ("shift;outputs=2 of 12" if some else "shift")


def test_folders_of_numbers_are_outputs_and_not_in_the_order_of_their_names(tmp_path: Path) -> None:
    """ImageNetV2 has folders 0 to 999; sorted as text, 10 follows 1."""
    for output in (0, 1, 2, 10, 999):
        picture(tmp_path / "v2" / str(output) / "a.png", seed=output, size=(8, 8))
    found = find_task(f"folder:{tmp_path / 'v2'};classes=imagenet-1k").load(None)
    assert (len(found.classes), sorted(found.test.labels.tolist())) == (1000, [0, 1, 2, 10, 999])
    names = [Path(file).parent.name for file in found.test.source.files]  # type: ignore[attr-defined]
    assert [int(name) for name in names] == found.test.labels.tolist()


def objectnet(folder: Path) -> str:
    """Task of two objects with a red border of two pixels; the first object means the outputs 1 and 5."""
    names = [f"own{number}" for number in range(12)]
    names[1] = names[5] = "alarm_clock"
    names[8] = "chair"
    (folder / "names.txt").write_text("\n".join(names))
    for label, number, output in (
        ("alarm_clock", 0, 1),  # right
        ("alarm_clock", 1, 5),  # right as well
        ("alarm_clock", 2, 3),  # between the two outputs, and an output of its own: wrong
        ("chair", 3, 8),  # right
        ("chair", 4, 5),  # wrong
    ):
        path = folder / "objects" / label / f"{number}.png"
        plain(path, output, size=12)
        with Image.open(path) as inner:
            framed = Image.new("RGB", (16, 16), (255, 0, 0))
            framed.paste(inner, (2, 2))
            framed.save(path)
    return f"folder:{folder / 'objects'};classes={folder / 'names.txt'};outputs=merged;border=2"


def test_objects_mean_several_outputs_and_lose_their_border(tmp_path: Path) -> None:
    task = objectnet(tmp_path)
    found = find_task(task).load(None)
    assert found.shape.height == 12  # type: ignore[union-attr]
    assert not (found.test.inputs == [[[[255]], [[0]], [[0]]]]).all(1).any()
    assert len(found.classes) == 11
    assert [found.classes[label] for label in found.test.labels] == ["alarm_clock"] * 3 + ["chair"] * 2
    place = str(tmp_path / "r")
    (row,) = harness.run(tasks=[task], variants={"m": Brightness()}, suite="clean", results=place).rows
    assert (row.robust, row.wrong, row.classes) == (3, 2, 11)
    assert row.task == "objects;outputs=11 merged of 12;border=2"
    # The border alone changes the data, and so the identity.
    other = find_task(task.replace("border=2", "border=1")).load(None)
    assert other.digest != found.digest


def test_the_largest_logit_of_a_group_counts_and_has_the_gradient() -> None:
    outputs = MergedOutputs(total=4, groups=((0, 3), (1,), (2,)))
    own = nn.Linear(5, 4)
    model = choose_outputs(own, outputs)
    inputs = torch.randn(6, 5, requires_grad=True)
    whole = inputs @ own.weight.T + own.bias
    expected = torch.stack([whole[:, [0, 3]].max(1).values, whole[:, 1], whole[:, 2]], 1)
    torch.testing.assert_close(model(inputs), expected)
    weights = torch.randn(6, 3)
    (found,) = torch.autograd.grad((model(inputs) * weights).sum(), inputs)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), inputs)
    torch.testing.assert_close(found, wanted)


def test_what_cannot_be_merged_is_said(tmp_path: Path) -> None:
    task = objectnet(tmp_path)
    with pytest.raises(DataError, match="names 'alarm_clock' twice"):
        find_task(task.replace(";outputs=merged", "")).load(None)
    with pytest.raises(UsageError, match="needs classes=FILE"):
        find_task(f"folder:{tmp_path / 'objects'};outputs=merged")
    plain(tmp_path / "objects" / "wok" / "5.png", 1, size=16)
    with pytest.raises(DataError, match="lacks 'wok'"):
        find_task(task).load(None)
    # Objects without an output are left out by naming the others.
    kept = tmp_path / "ids.txt"
    kept.write_text("\n".join(f"{label}/{number}.png" for label, number in (("alarm_clock", 0), ("chair", 3))))
    assert len(find_task(f"{task};ids={kept}").load(None).test) == 2
    clash = tmp_path / "clash.json"
    clash.write_text(json.dumps({"0": ["alarm_clock", "chair"], "1": "other"}))
    with pytest.raises(DataError, match="gives output 0 to 'alarm_clock' and 'chair'"):
        find_task(f"folder:{tmp_path / 'objects'};classes={clash};outputs=merged;ids={kept}").load(None)
    with pytest.raises(UsageError, match="border must be a number"):
        find_task(task.replace("border=2", "border=x"))
    with pytest.raises(DataError, match="a border of 8 pixels leaves nothing of a picture of 16 pixels"):
        find_task(task.replace("border=2", "border=8") + f";ids={kept}").load(None)
