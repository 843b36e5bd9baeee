"""Text tasks: tokenizers, encoding, the cache of encoded arrays, the generated task, and mirrors."""

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from robustbench_wb.errors import DataError
from robustbench_wb.models.shape import PAD, TextShape
from robustbench_wb.tasks import text_dataset
from robustbench_wb.tasks.catalogue import find_task
from robustbench_wb.tasks.hub_text import IMDB, SST2, WIKITEXT, WIKITEXT_103, TextTask
from robustbench_wb.tasks.sentences import TEST, TRAIN
from robustbench_wb.tasks.task import Split
from robustbench_wb.tasks.task_tokenizer import (
    CLS,
    SEP,
    SPECIAL,
    UNKNOWN,
    Encoding,
    TaskTokenizer,
    encode,
    encode_stream,
    train_tokenizer,
)
from tests.known import a
from tests.tasks.hub_layout import Write

WORDS = Encoding(kind="bpe", vocabulary=285, length=8)
BYTES = Encoding(kind="bytes", length=40)
TEXTS = ["The cat sat.", "the dog SAT on the mat", "a mat, a cat"] * 5


def rows(texts: list[str], labels: list[int], column: str = "text") -> Any:
    kinds = {column: datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])}
    return datasets.Dataset.from_dict({column: texts, "label": labels}, features=datasets.Features(kinds))


def test_texts_are_framed_cut_and_padded() -> None:
    tokenizer = train_tokenizer(TEXTS, WORDS)
    ids, sizes = encode(tokenizer, ["the cat", "the cat sat on the mat, the dog sat", "", "\u4e00"], 8)
    assert sizes[[0, 2, 3]].tolist() == [4, 2, 6]
    assert sizes[1] > 8
    assert ids.dtype == np.int32
    assert ids.shape == (4, 8)
    the, cat = (tokenizer.token_to_id(word) for word in ("\u0120the", "\u0120cat"))
    assert ids[0].tolist() == [CLS, the, cat, SEP, PAD, PAD, PAD, PAD]
    assert (ids[1] != PAD).all()
    assert (ids[1, 0], ids[1, -1]) == (CLS, SEP)
    assert ids[2].tolist() == [CLS, SEP] + [PAD] * 6
    assert (ids[3] != PAD).sum() == 2 + 4  # a blank and three bytes
    assert (ids != UNKNOWN).all()
    assert [tokenizer.token_to_id(token) for token in SPECIAL] == [0, 1, 2, 3, 4]


def test_a_stream_holds_every_text_in_order_and_no_padding() -> None:
    tokenizer = train_tokenizer(TEXTS, WORDS)
    chunks = encode_stream(tokenizer, TEXTS, 8)
    whole = [id for one in TEXTS for id in [*tokenizer.encode(one, add_special_tokens=False).ids, SEP]]
    assert chunks.ravel().tolist() == whole[: chunks.size]
    assert len(whole) - chunks.size < 8
    assert (chunks != PAD).all()


@given(st.text(max_size=60).map(str.lower))
def test_sub_words_come_back(some: str) -> None:
    tokenizer = train_tokenizer(TEXTS, WORDS)
    back = tokenizer.decode(tokenizer.encode(some, add_special_tokens=False).ids)
    assert back.removeprefix(" ") == some.lower().removeprefix(" ")


@given(st.text(max_size=60))
def test_bytes_come_back(some: str) -> None:
    tokenizer = train_tokenizer([], BYTES)
    (ids,) = encode(tokenizer, [some], 300)[0]
    inside = ids[(ids >= len(SPECIAL))]
    assert bytes((inside - len(SPECIAL)).tolist()) == some.encode()
    assert ids.max() < BYTES.vocabulary
    plain = re.sub(r"[^ -~]", "", some)
    back = Tokenizer.from_str(tokenizer.to_str()).decode((np.array(list(plain.encode()), int) + len(SPECIAL)).tolist())
    assert back == plain


@pytest.mark.slow(5)
def test_the_same_texts_give_the_same_tokenizer_in_any_process(tmp_path: Path) -> None:
    code = (
        "import hashlib; from robustbench_wb.tasks.catalogue import find_task; "
        "from robustbench_wb.tasks.task_tokenizer import Encoding, train_tokenizer; "
        "e = Encoding(kind='bpe', vocabulary=400, length=8); texts = find_task('sentences').load(None).train.texts; "
        "print(hashlib.sha256(train_tokenizer(texts, e).to_str().encode()).hexdigest())"
    )
    # A cache of its own each, so that each makes the texts itself.
    environments = [{"PYTHONHASHSEED": seed, "RBWB_CACHE_DIR": str(tmp_path / seed)} for seed in ("1", "2", "3")]
    done = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        for environment in environments
    ]
    assert len({process.stdout for process in done}) == 1


def judge(sentence: str) -> int:
    """Label of a generated text, derived word by word."""
    good = set("good great lovely bright clever warm fresh superb charming neat brave calm".split())  # noqa: SIM905
    bad = set("bad awful dull cold stale weak noisy clumsy bland ugly rude grim".split())  # noqa: SIM905
    opinion = 0
    for clause in sentence.split(","):
        words = set(clause.replace(".", "").split())
        (word,) = words & (good | bad)
        opinion += (1 if word in good else -1) * (-1 if words & {"not", "never", "hardly"} else 1)
    assert opinion
    return int(opinion > 0)


@pytest.mark.slow(2)
def test_sentences_mean_what_their_labels_say() -> None:
    data = find_task("sentences").load(None)
    assert (len(data.train), len(data.test)) == (TRAIN, TEST)
    for split in (data.train, data.test):
        assert [judge(one) for one in split.texts] == split.labels.tolist()
        assert 0.45 < split.labels.mean() < 0.55
    assert not set(data.train.texts) & set(data.test.texts)
    tokenizer = Tokenizer.from_str(a(TaskTokenizer, data.tokenizer).json)
    assert (
        np.asarray(data.test.inputs) == encode(tokenizer, data.test.texts, a(TextShape, data.shape).length)[0]
    ).all()
    assert (np.asarray(data.test.inputs) != UNKNOWN).all()
    assert not data.shape.causal
    language = find_task("sentences-lm").load(None)
    shape = a(TextShape, language.shape)
    assert shape.causal
    assert shape.classes == shape.vocabulary
    assert (np.asarray(language.test.inputs) != PAD).all()


def test_pixels_in_a_row_are_the_digits() -> None:
    images, sequences = find_task("digits").load(None), find_task("digits-sequence").load(None)
    inks = np.asarray(sequences.test.inputs)[:, 1:] - len(SPECIAL)
    assert (np.rint(inks * (255 / 16)) == images.test.inputs.reshape(360, 64)).all()
    assert (sequences.test.labels == images.test.labels).all()
    assert sequences.test.inputs.max() < a(TextShape, sequences.shape).vocabulary


def test_a_split_is_known_by_every_letter() -> None:
    ids, labels = np.ones((2, 4), np.int32), np.zeros(2, np.int64)
    digests = {
        Split(inputs=ids, labels=labels, texts=texts).digest() for texts in ([], ["a", "b"], ["ab", ""], ["a", "c"])
    }
    assert len(digests) == 4


def mirror(write: Write, **changes: Any) -> Path:
    train = rows(["a good film", "a bad film", "good", "bad"] * 4, [1, 0, 1, 0] * 4, "sentence")
    return write("sst2", **{"train": train, "validation": rows(["good film"], [1], "sentence"), **changes})


def test_a_mirror_is_encoded_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mirror(write)
    first = SST2.load(str(root))
    assert (first.label, first.classes, len(first.train), len(first.test)) == ("sst2", ("neg", "pos"), 16, 1)
    assert first.test.texts == ["good film"]
    monkeypatch.setattr(text_dataset, "train_tokenizer", lambda *given: pytest.fail("encoded again"))
    again = SST2.load(str(root))
    assert first.train.digest() == again.train.digest()
    assert first.tokenizer == again.tokenizer


def test_another_text_is_another_dataset(write: Write) -> None:
    root = mirror(write)
    before = SST2.load(str(root)).train.digest()
    (file,) = (root / "sst2").rglob("train-*.parquet")
    rows(["a good film", "a bad film", "good", "bat"] * 4, [1, 0, 1, 0] * 4, "sentence").to_parquet(file)
    assert SST2.load(str(root)).train.digest() != before


def test_a_damaged_copy_is_made_again(write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = mirror(write)
    first = SST2.load(str(root)).train.digest()
    (tokens,) = (tmp_path / "cache" / "datasets").glob("*/train-tokens.npy")
    tokens.write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING):
        assert SST2.load(str(root)).train.digest() == first
    assert "encoding again" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": rows(["x"], [0], "other"), "validation": rows(["x"], [0], "other")}, "a task needs 'text'"),
        ({"train": rows(["x", "y"], [0, -1], "sentence")}, "without a valid label"),
    ],
)
def test_what_cannot_be_scored_is_said(write: Write, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SST2.load(str(mirror(write, **changes)))


def test_language_models_learn_elsewhere_where_a_source_has_no_training_texts(write: Write) -> None:
    reviews = rows(["a film that goes on and on , and on " * 40] * 3, [0, 1, 0])
    write("imdb", train=reviews, test=reviews)
    lines = datasets.Dataset.from_dict({"text": ["", " = A title = ", "words and words " * 60]})
    root = write("wikitext-2-v1", test=lines, validation=lines)
    data = WIKITEXT.load(str(root))
    assert data.label == "wikitext-on-imdb"
    assert data.shape.causal
    assert set(data.test.labels) == {0}
    write("whole", train=lines)
    whole = TextTask(WIKITEXT.facts.model_copy(update={"source": "own/whole", "config": None}))
    with pytest.raises(DataError, match=r"splits \['train'\]"):
        whole.load(str(root))


def lines(word: str) -> Any:
    """Lines of WikiText: headings, blank lines and paragraphs."""
    return datasets.Dataset.from_dict({"text": ["", f" = {word} = \n", f" {word} and {word} " * 150, None, " \n"] * 9})


def test_wikitext_103_is_read_beside_wikitext_2(write: Write, tmp_path: Path) -> None:
    """A mirror of the hub has a folder for each configuration, and splits in several files."""
    for config, word in (("wikitext-2-v1", "small"), ("wikitext-103-v1", "large")):
        root = write(
            f"Salesforce/wikitext/{config}", train=lines(word), test=lines("unseen"), validation=lines("unseen")
        )
    folder = root / "Salesforce/wikitext/wikitext-103-v1/data"
    (folder / "train-00000-of-00001.parquet").rename(folder / "train-00000-of-00002.parquet")
    lines("larger").to_parquet(folder / "train-00001-of-00002.parquet")
    small, large = (task.load(str(root)) for task in (WIKITEXT, WIKITEXT_103))
    assert (small.label, large.label) == ("wikitext", "wikitext-103")
    tokenizer = a(TaskTokenizer, large.tokenizer)
    library = Tokenizer.from_str(tokenizer.json)
    texts = [text for word in ("large", "larger") for text in lines(word)["text"] if text and text.strip()]
    assert library.to_str() == train_tokenizer(texts, WIKITEXT_103.facts.encoding).to_str()
    stream = encode_stream(library, texts, a(TextShape, large.shape).length)
    assert (np.asarray(large.train.inputs) == stream).all()
    assert (stream.shape[1], a(TextShape, small.shape).length) == (256, 128)
    assert "large" in tokenizer.json
    assert "large" not in a(TaskTokenizer, small.tokenizer).json
    assert not list((tmp_path / "cache" / "datasets").glob("*/tmp*"))


def test_the_validation_texts_are_named_where_there_are_no_test_texts(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("Salesforce/wikitext/wikitext-103-v1", train=lines("seen"), validation=lines("unseen"))
    assert WIKITEXT_103.load(str(root)).label == "wikitext-103;split=validation"
    (told,) = (record.getMessage() for record in caplog.records)
    assert told == "wikitext-103: there is no test split; the validation split is evaluated"


def test_files_of_another_configuration_are_refused(write: Write) -> None:
    root = write("wikitext", train=lines("small"), test=lines("small"))
    assert WIKITEXT.load(str(root)).label == "wikitext"
    with pytest.raises(DataError, match=r"wikitext has no folder wikitext-103-v1, which task 'wikitext-103' needs"):
        WIKITEXT_103.load(str(root))
    (root / "wikitext").rename(root / "before")
    write("wikitext/wikitext-103-v1", train=lines("large"), test=lines("large"))
    with pytest.raises(DataError, match=r"wikitext has no folder wikitext-2-v1, which task 'wikitext' needs"):
        WIKITEXT.load(str(root))


def test_too_short_a_text_is_no_language_task(write: Write) -> None:
    root = write("imdb", train=rows(["short"], [0]), test=rows(["short"], [0]))
    language = TextTask(IMDB.facts.model_copy(update={"language_modelling": True}))
    with pytest.raises(DataError, match="has fewer than 256 tokens"):
        language.load(str(root))


def test_the_cache_holds_json_that_the_tokenizers_library_reads(write: Write, tmp_path: Path) -> None:
    SST2.load(str(mirror(write)))
    (card,) = (tmp_path / "cache" / "datasets").glob("*/card.json")
    tokenizer = Tokenizer.from_str(json.loads(card.read_text())["card"]["tokenizer"])
    assert tokenizer.decode(tokenizer.encode("A Good film").ids) == " a good film"
