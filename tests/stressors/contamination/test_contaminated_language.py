"""Word swaps in language modelling: from rows of tokens to the perplexities of a table."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from robustbench_wb.api import run as harness
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.engine.task_samples import choose_samples
from robustbench_wb.errors import MeasurementError
from robustbench_wb.models.batching import to_inputs
from robustbench_wb.models.build import build
from robustbench_wb.models.catalogue import VARIANTS
from robustbench_wb.models.shape import PAD
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.stressors.catalogue import parse_stressor
from robustbench_wb.stressors.contamination.stop_words import STOP_WORDS
from robustbench_wb.stressors.contamination.word_swap_lm import find_word_tokens
from robustbench_wb.stressors.model_free import ModelFreeStressor, PerturbedData
from robustbench_wb.stressors.sample_batch import SampleBatch, TextSide
from robustbench_wb.tasks.sentences import SENTENCES_LM
from robustbench_wb.tasks.task import Split
from robustbench_wb.tasks.task_tokenizer import SEP, Encoding, TaskTokenizer, train_tokenizer
from tests.known import known
from tests.stressors.attacked_batch import make_data

COUNT = 60


def make(signature: str, batch: SampleBatch) -> PerturbedData:
    stressor = parse_stressor(signature)
    assert isinstance(stressor, ModelFreeStressor)
    return make_data(stressor, batch)


@pytest.fixture(scope="module")
def batch(cache: str) -> SampleBatch:
    samples = choose_samples(SENTENCES_LM.load(None), COUNT)
    inputs, ids = to_inputs(samples.inputs, "cpu"), torch.from_numpy(samples.ids).long()
    labels = torch.zeros(COUNT, dtype=torch.int64)
    return SampleBatch(inputs=inputs, labels=labels, ids=ids, seed=0, text=samples.text, language=True)


def text_of(tokens: NDArray[np.int64], tokenizer: TaskTokenizer) -> str:
    """Text of a row as the tokenizers library decodes it; | marks the end of a text."""
    library = Tokenizer.from_str(tokenizer.json)
    return "".join("|" if token == SEP else library.decode([int(token)]) for token in tokens)


@pytest.mark.parametrize("rate", ["3/200", "1/10", "1/2", "1"])
def test_the_swapped_stream_reads_as_it_should(rate: str, batch: SampleBatch) -> None:
    made = {
        targets: make(f"word-swap-lm;rate={rate};targets={targets}", batch) for targets in ("all", "clean", "swapped")
    }
    tokenizer = known(batch.text).tokenizer
    assert isinstance(tokenizer, TaskTokenizer)
    whole, clean, swapped = (made[targets] for targets in ("all", "clean", "swapped"))
    for row, tokens in enumerate(batch.inputs.numpy()):
        assert whole.inputs is not None
        assert clean.counted is not None
        assert swapped.counted is not None
        assert whole.counted is not None
        new = whole.inputs[row]
        for other in (clean, swapped):
            assert other.inputs is not None
            assert (other.inputs[row] == new).all()
        # Every token but padding is scored in exactly one of the two.
        assert (whole.counted[row] == (new != PAD)).all()
        assert (whole.counted[row] == (clean.counted[row] ^ swapped.counted[row])).all()
        assert set(text_of(new[swapped.counted[row]], tokenizer)) <= set(" a")
        before, after = (text_of(part, tokenizer).replace("|", " ").split() for part in (tokens, new[new != PAD]))
        words = [word for word in before if word.isalpha()]
        others = [word for word in words if word not in STOP_WORDS]
        count, exact = int(whole.changed[row]), Fraction(rate) * len(words)
        assert whole.units[row] == len(words)
        assert count in {min(len(others), floor(exact)), min(len(others), ceil(exact))}
        # The last word that is seen may be cut.
        changed = [(old, seen) for old, seen in list(zip(before, after, strict=False))[:-1] if old != seen]
        assert all(seen == "aaa" and old not in STOP_WORDS for old, seen in changed)
        assert len(changed) <= count
        assert len(changed) >= count - 1 or len(after) < len(before)


def test_what_a_rate_swaps_a_higher_rate_swaps_too(batch: SampleBatch) -> None:
    tokenizer = known(batch.text).tokenizer
    assert isinstance(tokenizer, TaskTokenizer)
    rows = [make(f"word-swap-lm;rate={rate}", batch).inputs for rate in ("0", "1/10", "1/4", "1/2", "1")]
    for row in range(COUNT):
        words = [text_of(made[row], tokenizer).split() for made in rows if made is not None]
        for lower, higher in pairwise(words):
            # The last words of a row may be cut, and tokens that swaps push out are lost.
            for one, other in list(zip(lower, higher, strict=False))[:-1]:
                assert one == other or other.strip("|") == "aaa"


def test_order_and_batches_do_not_matter(batch: SampleBatch) -> None:
    whole = make("word-swap-lm;rate=1/4;targets=clean", batch)
    assert whole.inputs is not None
    assert whole.counted is not None
    for row in (0, 7, COUNT - 1):
        one = make("word-swap-lm;rate=1/4;targets=clean", batch.select(np.arange(COUNT) == row))
        assert one.inputs is not None
        assert one.counted is not None
        assert (one.inputs[0] == whole.inputs[row]).all()
        assert (one.counted[0] == whole.counted[row]).all()


@pytest.mark.parametrize("kind", ["bpe", "bytes"])
def test_rows_cut_anywhere(kind: str) -> None:
    """Rows that begin and end within a word, a character or a number; tokens around swapped words stay."""
    text = "naïve don't (well-known) x²ⅧⅨ Ⅷ9Ⅸ café 学习机器 😀 a_b e\u0301t\u00e9 12 O'Neill\n" * 6
    encoding = Encoding(kind=kind, vocabulary=330 if kind == "bpe" else 261, length=8)
    tokenizer = TaskTokenizer(train_tokenizer([text], encoding).to_str())
    stream = np.array(tokenizer.encode_part(text), np.int64)
    nothing = torch.zeros(1)
    for width in (1, 2, 7, 30, len(stream)):
        rows = np.stack([stream[at : at + width] for at in range(0, min(60, len(stream) - width + 1))])
        ids = torch.arange(len(rows))
        batch = SampleBatch(
            inputs=torch.from_numpy(rows),
            labels=nothing,
            ids=ids,
            seed=0,
            text=TextSide(tokenizer=tokenizer),
            language=True,
        )
        none, some, full = (make(f"word-swap-lm;rate={rate}", batch) for rate in ("0", "1/3", "1"))
        assert none.inputs is not None
        assert (none.inputs == rows).all()
        assert none.counted is not None
        assert none.counted.all()
        assert (some.units == none.units).all()
        assert full.inputs is not None
        for row, tokens in enumerate(rows):
            places = find_word_tokens(tokens, tokenizer)
            assert all(one.end <= other.first for one, other in pairwise(places))
            for place in places:
                whole = b"".join(tokenizer.pieces[token] for token in tokens[place.first : place.end])
                middle = whole.decode("utf-8", "replace")
                assert middle == f"{place.before}{place.word}{place.after}"
            if width < len(stream):
                continue
            seen = b"".join(tokenizer.pieces[token] for token in full.inputs[row] if token != PAD).decode()
            assert "aaa" in seen.lower()
            assert "naïve" not in seen
            assert "don't" in seen  # both halves are stop words
            if kind == "bytes":
                assert "(AAA-AAA)" in seen


def request(**more: object) -> RunRequest:
    given = {
        "suite": "contamination-language", "variants": ("bert",), "recipe": "none", "samples": COUNT, "device": "cpu",
    }  # fmt: skip
    return RunRequest(**{**given, **more})


def by_hand(made: PerturbedData) -> tuple[float, int]:
    """exp of the mean of -log p over all scored tokens, computed token by token, and the number of these tokens."""
    data = SENTENCES_LM.load(None)
    model = build(VARIANTS.get("bert"), "nano", data.shape, seed=0).eval()
    assert made.inputs is not None
    assert made.counted is not None
    total, count = 0.0, 0
    for tokens, counted in zip(made.inputs.astype(np.int64), made.counted, strict=True):
        real = tokens[tokens != PAD]
        with torch.no_grad():
            chances = model(torch.from_numpy(real)[None])[0].double().softmax(-1).numpy()
        for at in range(1, len(real)):
            if counted[at]:
                total -= math.log(chances[at - 1][real[at]])
                count += 1
    return math.exp(total / count), count


@pytest.mark.slow(2)
@pytest.mark.parametrize("targets", ["all", "clean", "swapped"])
def test_perplexities_can_be_worked_out_by_hand(targets: str, batch: SampleBatch, tmp_path: Path) -> None:
    signature = f"word-swap-lm;rate=1/4;targets={targets}"
    wanted, count = by_hand(make(signature, batch))
    for size in (1, 16):  # in a batch of one, a row is shorter because its padding is removed
        place = str(tmp_path / str(size))
        _, row = harness.run(request(stressors=(signature,), batch=size), results=place).rows
        assert row.perplexity == pytest.approx(wanted, rel=1e-6)
        assert (row.stressor, row.metric) == (f"word-swap-lm:{targets}", "perplexity")
        (record,) = RecordStore(place).find([row.key]).values()
        assert record.evidence["counted"] == count


def test_rows_with_padding_are_scored_alike_whatever_the_batch(batch: SampleBatch) -> None:
    """Swaps shorten rows with long words: these rows end in padding, which is never scored."""
    from robustbench_wb.engine.batch import BatchSize
    from robustbench_wb.engine.measure import LadderStep, measure
    from robustbench_wb.engine.task_samples import MeasuredModel, TaskSamples
    from robustbench_wb.records.record import Identity

    data = SENTENCES_LM.load(None)
    tokenizer = data.tokenizer
    assert isinstance(tokenizer, TaskTokenizer)
    texts = [" unforgettably bittersweet" * 3 + " film" * extra for extra in range(6)]
    longest = max(len(tokenizer.encode_part(text)) for text in texts)
    rows = np.array([(tokenizer.encode_part(text) * 3)[:longest] for text in texts], np.int32)
    samples = TaskSamples(
        ids=np.arange(6, dtype=np.int32),
        inputs=rows,
        labels=np.zeros(6, np.int64),
        language=True,
        text=TextSide(tokenizer=tokenizer),
    )
    model = build(VARIANTS.get("bert"), "nano", data.shape.model_copy(update={"length": longest}), seed=0).eval()
    stressor = parse_stressor("word-swap-lm;rate=1;targets=clean")
    identity = Identity(
        signature=stressor.signature, ladder=(), stressor_code="", data="", samples="", weights="", model_code="",
        numerics="", seed=0,
    )  # fmt: skip
    found = []
    for size in (1, 6):
        measured_model = MeasuredModel(model=model, batch=BatchSize(size), device=torch.device("cpu"))
        step = LadderStep(rungs=(stressor,), identities=(identity,))
        before = np.full(6, 5, np.int8)
        (record,) = measure(step, measured_model, samples, before=before, advance=lambda count: None)
        found.append(record)
    made = make(
        "word-swap-lm;rate=1;targets=all", replace(batch, inputs=torch.from_numpy(rows).long(), ids=torch.arange(6))
    )
    assert made.inputs is not None
    assert (made.inputs == PAD).any(1).all()
    np.testing.assert_allclose(found[0].losses, found[1].losses, rtol=1e-5)
    total = found[0].token_losses.mean()
    clean = make(stressor.signature, replace(batch, inputs=torch.from_numpy(rows).long(), ids=torch.arange(6)))
    assert clean.inputs is not None
    assert clean.counted is not None
    losses = []
    for tokens, counted in zip(clean.inputs.astype(np.int64), clean.counted, strict=True):
        real = tokens[tokens != PAD]
        with torch.no_grad():
            chances = model(torch.from_numpy(real)[None])[0].double().log_softmax(-1)
        losses += [-chances[at - 1, real[at]].item() for at in range(1, len(real)) if counted[at]]
    assert len(losses) == found[0].evidence["counted"] > 0
    assert total == pytest.approx(np.mean(losses), rel=1e-5)


def test_rate_0_is_the_clean_cell_bit_for_bit(tmp_path: Path) -> None:
    signatures = ("word-swap-lm;rate=0;targets=all", "word-swap-lm;rate=0;targets=clean", "token-dropout;rate=0")
    rows = harness.run(request(stressors=signatures), results=str(tmp_path)).rows
    found = RecordStore(str(tmp_path)).find([row.key for row in rows])
    clean, *others = (found[row.key] for row in rows)
    for record, row in zip(others, rows[1:], strict=True):
        assert (record.losses == clean.losses).all()
        assert row.perplexity == rows[0].perplexity
        assert row.realised == 0


@pytest.mark.slow(1)
def test_the_suite_parts_three_perplexities(tmp_path: Path) -> None:
    rows = harness.run(request(samples=30), results=str(tmp_path)).rows
    assert len(rows) == 1 + 3 * 4
    assert {row.status for row in rows} == {"ok"}
    assert len({(row.stressor, row.strength) for row in rows}) == len(rows)

    def of(targets: str) -> dict[str, ScoreRow]:
        return {row.strength: row for row in rows if row.stressor == f"word-swap-lm:{targets}"}

    for strength, row in of("all").items():
        low, high = sorted(float(of(targets)[strength].perplexity or 0) for targets in ("clean", "swapped"))
        assert low <= float(row.perplexity or 0) <= high


def test_a_foreign_tokenizer_is_refused(batch: SampleBatch) -> None:
    with pytest.raises(MeasurementError, match="needs the token ids of a text task's own tokenizer"):
        make("word-swap-lm;rate=1/10", replace(batch, text=None))


LINES = [
    *("film", "of the", *["zebra yak of tapir and okapi"] * 2, *["zebra yak tapir okapi of " * 40] * 2),
    *("it was not that", "zebra yak tapir " * 40),
]


def rows_of_lines(width: int, ids: int) -> SampleBatch:
    """Rows of a stream of lines, longer and shorter than a row. Of ``ids`` many, every word is one token."""
    encoding = Encoding(kind="bpe", vocabulary=ids, length=8)
    tokenizer = TaskTokenizer(train_tokenizer([*LINES, "aaa"] * 3, encoding).to_str())
    stream = [token for line in LINES for token in [*tokenizer.encode_part(f" {line.strip()}"), SEP]]
    rows = np.array(stream[: len(stream) // width * width], np.int32).reshape(-1, width)
    return SampleBatch(
        inputs=torch.from_numpy(rows).long(),
        labels=torch.zeros(len(rows), dtype=torch.int64),
        ids=torch.arange(len(rows)),
        seed=3,
        text=TextSide(tokenizer=tokenizer),
        language=True,
        split=Split(inputs=rows, labels=np.zeros(len(rows), np.int64)),
    )


@pytest.mark.parametrize("rate", ["3/200", "1/10"])
def test_lines_are_swapped_as_by_the_tool_of_the_papers(rate: str) -> None:
    """TextAttack swaps max(int(rate x words), 1) words of a line that are no stop words, if it has as many."""
    streams = []
    for width in (7, 16, 100):
        batch = rows_of_lines(width, ids=600)
        made = make(f"published-word-swap-lm;rate={rate}", batch)
        assert made.inputs is not None
        tokenizer = known(batch.text).tokenizer
        assert isinstance(tokenizer, TaskTokenizer)
        read = [
            text_of(rows.reshape(-1).astype(np.int64), tokenizer).split("|")
            for rows in (batch.inputs.numpy(), made.inputs)
        ]
        whole = 7  # the rows end in the lines after these
        assert len(read[0]) > whole
        for old, new in list(zip(*read, strict=True))[:whole]:
            pairs = list(zip(old.split(), new.split(), strict=True))
            others = [word for word, _ in pairs if word not in STOP_WORDS]
            changed = [word for word, seen in pairs if word != seen]
            assert {seen for word, seen in pairs if word != seen} <= {"aaa"}
            assert not set(changed) & set(STOP_WORDS)
            assert len(changed) == min(len(others), max(1, int(Fraction(rate) * len(pairs))))
        streams.append(read[1][:whole])
    assert streams[0] == streams[1] == streams[2]


def test_lines_do_not_depend_on_the_batch_and_have_a_protocol_of_their_own() -> None:
    batch = rows_of_lines(16, ids=300)
    whole = make("published-word-swap-lm;rate=1/10", batch)
    assert whole.inputs is not None
    for row in (0, 5, len(batch.ids) - 1):
        one = make("published-word-swap-lm;rate=1/10", batch.select(np.arange(len(batch.ids)) == row))
        assert one.inputs is not None
        assert (one.inputs[0] == whole.inputs[row]).all()
    stressor = parse_stressor("published-word-swap-lm;rate=1/10")
    assert (stressor.label, stressor.protocol) == ("published-word-swap-lm", "as-published")
    with pytest.raises(MeasurementError, match="published-word-swap-lm needs the complete test split"):
        make("published-word-swap-lm;rate=1/10", replace(batch, split=None))


@pytest.mark.slow(2)
def test_the_published_swaps_stand_beside_our_own(tmp_path: Path) -> None:
    rows = harness.run(request(suite="language-robustness", samples=30), results=str(tmp_path)).rows
    published = [row for row in rows if row.stressor == "published-word-swap-lm"]
    assert [(row.strength, row.status, row.protocol) for row in published] == [
        (rate, "ok", "as-published") for rate in ("3/200", "1/40")
    ]
    assert {row.protocol for row in rows if row not in published} == {"sound"}
    # Lines of about nine words have one swap each, whatever the rate.
    assert 0.08 < known(published[0].realised) < 0.2
