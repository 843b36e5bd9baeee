"""Wrong training labels: their number, their choice, and the source of human labels."""

from fractions import Fraction
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.errors import MeasurementError, UsageError
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.tasks.sentences import SENTENCES_LM
from robustbench_wb.tasks.task import Dataset
from tests.stressors.contamination.training_data import CIFAR10, contaminated, differing, pictures, stressor

RATES = st.fractions(0, Fraction(49, 50), max_denominator=50)


def noise(rate: object, kind: str) -> str:
    return f"label-noise;rate={rate};noise={kind}"


@given(RATES, RATES, st.integers(2, 7), st.integers(1, 60), st.integers(0, 3))
def test_the_number_of_wrong_labels_is_exact_and_rates_are_nested(
    one: Fraction, other: Fraction, classes: int, count: int, seed: int
) -> None:
    dataset = pictures(count, tuple(map(str, range(classes))))
    low, high = sorted((one, other))
    for kind in ("symmetric", "pair"):
        few, many = (contaminated(noise(rate, kind), dataset, seed) for rate in (low, high))
        rows, more = differing(dataset, few), differing(dataset, many)
        assert (len(rows), few.units) == (round(low * count), count)
        assert rows <= more
        assert few.changed == len(rows)
        at = sorted(rows)
        np.testing.assert_array_equal(few.dataset.train.labels[at], many.dataset.train.labels[at])
        if kind == "pair":
            np.testing.assert_array_equal(few.dataset.train.labels[at], (dataset.train.labels[at] + 1) % classes)


def test_symmetric_reaches_all_other_classes_alike_and_resampled_all() -> None:
    count, classes = 40_000, 5
    dataset = pictures(count, tuple("abcde"))
    before = dataset.train.labels
    symmetric = contaminated(noise("1/2", "symmetric"), dataset)
    assert symmetric.changed == count / 2
    rows = symmetric.dataset.train.labels != before
    steps = np.bincount((symmetric.dataset.train.labels - before)[rows] % classes, minlength=classes)
    assert steps[0] == 0
    # 4 standard deviations of a binomial count.
    assert np.abs(steps[1:] - 5000).max() < 4 * np.sqrt(20_000 * 0.25 * 0.75)
    resampled = contaminated(noise("1/2", "resampled"), dataset)
    assert abs(resampled.changed - 16_000) < 4 * np.sqrt(20_000 * 0.2 * 0.8)
    assert resampled.changed == (resampled.dataset.train.labels != before).sum()
    # Both kinds choose equal samples: labels that differ when resampled are also flipped symmetrically.
    assert not ((resampled.dataset.train.labels != before) & ~rows).any()


def test_asymmetric_flips_as_written() -> None:
    of_names = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}
    dataset = pictures(2000, CIFAR10)
    found = contaminated(noise("2/5", "asymmetric"), dataset)
    before, after = dataset.train.labels, found.dataset.train.labels
    flips = {(CIFAR10[a], CIFAR10[b]) for a, b in zip(before, after, strict=True) if a != b}
    assert flips == set(of_names.items())
    members = np.isin(before, [CIFAR10.index(name) for name in of_names]).sum()
    assert found.changed == round(Fraction(2, 5) * int(members)) == (before != after).sum()
    assert found.units == 2000
    digits = contaminated(noise("9/10", "asymmetric"), pictures(2000, tuple("0123456789")))
    pairs = set(zip(pictures(2000, tuple("0123456789")).train.labels, digits.dataset.train.labels, strict=True))
    assert {(a, b) for a, b in pairs if a != b} == {(7, 1), (2, 7), (5, 6), (6, 5), (3, 8)}


def test_rate_0_and_the_seed(digits: Dataset) -> None:
    for kind in ("symmetric", "resampled", "pair", "asymmetric"):
        clean = contaminated(noise(0, kind), digits)
        assert clean.dataset.train.digest() == digits.train.digest()
        assert (clean.changed, clean.units) == (0, 1437)
        one, again, other = (contaminated(noise("1/5", kind), digits, seed) for seed in (0, 0, 1))
        assert one.dataset.train.digest() == again.dataset.train.digest() != other.dataset.train.digest()
    assert stressor(noise("1/5", "pair")).label == "label-noise:pair"


@pytest.mark.parametrize(
    ("signature", "words"),
    [("label-noise;rate=1", "less than 1"), ("label-noise;rate=1/5;noise=loud", "noise"), ("human-labels;rate=2", "1")],
)
def test_numbers_out_of_range_are_refused(signature: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_stressor(signature)


def test_what_has_no_labels_or_no_map_is_one_line() -> None:
    with pytest.raises(MeasurementError, match="contaminates labels, but task 'sentences-lm' has fewer than two"):
        contaminated(noise("1/5", "pair"), SENTENCES_LM.load(None))
    with pytest.raises(
        MeasurementError, match="class confusions for CIFAR-10 and digits only, not for task 'pictures'"
    ):
        contaminated(noise("1/5", "asymmetric"), pictures(10, ("a", "b")))


def annotated(folder: Path, dataset: Dataset, **columns: object) -> str:
    """A mirror with annotators' labels: every third one is the next class."""
    clean = dataset.train.labels
    worse = np.where(np.arange(len(clean)) % 3 == 0, (clean + 1) % len(dataset.classes), clean)
    content = {"clean_label": clean, "worse_label": worse, **columns}
    content = {name: values for name, values in content.items() if values is not None}
    (folder / "cifar10n").mkdir(exist_ok=True)
    datasets.Dataset.from_dict(content).to_parquet(folder / "cifar10n" / "train-00000-of-00001.parquet")
    return str(folder)


def test_human_labels_are_taken_whole_or_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = pictures(100, tuple("abcd"))
    mirror = annotated(tmp_path, dataset)
    whole = contaminated("human-labels", dataset, data_dir=mirror)
    wrong = set(range(0, 100, 3))
    assert differing(dataset, whole) == wrong
    assert (whole.changed, whole.units) == (34, 100)
    np.testing.assert_array_equal(
        whole.dataset.train.labels, [(y + 1) % 4 if i % 3 == 0 else y for i, y in enumerate(dataset.train.labels)]
    )
    half, most = (contaminated(f"human-labels;rate={rate}", dataset, data_dir=mirror) for rate in ("1/2", "3/4"))
    assert differing(dataset, half) < differing(dataset, most) < wrong
    assert (half.changed, most.changed) == (17, 26)
    monkeypatch.setenv("RBWB_DATA_DIR", mirror)
    assert contaminated("human-labels", dataset).dataset.train.digest() == whole.dataset.train.digest()
    assert stressor("human-labels").label == "human-labels:worse_label"


@pytest.mark.parametrize(
    ("count", "columns", "signature", "words"),
    [
        (99, {}, "human-labels", "has 100 rows, but task 'pictures' trains on 99"),
        (100, {"clean_label": [0] * 100}, "human-labels", "not labels of the same samples"),
        (100, {"worse_label": [4] * 100}, "human-labels", r"labels outside 0\.\.3"),
        (100, {"worse_label": ["a"] * 100}, "human-labels", "are not integers"),
        (100, {}, "human-labels;column=aggre_label", "needed are 'clean_label' and 'aggre_label'"),
        (100, {"clean_label": None}, "human-labels", "needed are 'clean_label'"),
    ],
)
def test_labels_of_other_samples_are_refused(
    count: int, columns: dict[str, object], signature: str, words: str, tmp_path: Path
) -> None:
    mirror = annotated(tmp_path, pictures(100, tuple("abcd")), **columns)
    dataset = pictures(100, tuple("abcd"))
    if count < 100:
        dataset = pictures(count, tuple("abcd"))
    with pytest.raises(MeasurementError, match=words) as caught:
        contaminated(signature, dataset, data_dir=mirror)
    assert "\n" not in str(caught.value)


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"human-labels: data folder .* does not exist"):
        contaminated("human-labels", pictures(9, ("a", "b")), data_dir=str(tmp_path / "none"))
