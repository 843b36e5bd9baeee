"""Synonyms from files that the user has: WordNet's database, or a plain list of synonym sets."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from robustbench_wb.errors import UsageError
from robustbench_wb.tasks.lexicon import find_words

WORDNET_FILES: Final[Mapping[str, str]] = {
    "noun": "data.noun",
    "verb": "data.verb",
    "adjective": "data.adj",
    "adverb": "data.adv",
}
"""Files of a WordNet folder by part of speech: ``dict`` of WordNet 3, or ``corpora/wordnet`` of NLTK's data."""


class SynonymSet(NamedTuple):
    """Words that can stand for each other in one of their senses."""

    speech: str
    """Part of speech, like ``noun``; empty if the file names none."""
    words: tuple[str, ...]
    """Lower-cased single words."""


class Synonyms:
    """Synonym sets by word. Phrases and words with other characters than letters are left out."""

    def __init__(self, sets: Sequence[SynonymSet], *, digest: str, one_speech: bool) -> None:
        """Index the sets.

        Args:
            sets: the sets.
            digest: digest of the files that hold them.
            one_speech: whether words with senses in several parts of speech have no synonyms and are none. Which sense
                a text uses is unknown without a tagger.
        """
        self.digest = digest
        self._sets: dict[str, list[SynonymSet]] = {}
        for one in sets:
            for word in one.words:
                self._sets.setdefault(word, []).append(one)
        if one_speech:
            self._sets = {word: own for word, own in self._sets.items() if len({one.speech for one in own}) == 1}

    def of(self, word: str) -> tuple[str, ...]:
        """Synonyms of a word in all its senses, in alphabetical order, without the word, whose case does not matter."""
        own = word.lower()
        found = {other for one in self._sets.get(own, ()) for other in one.words}
        return tuple(sorted(other for other in found if other != own and other in self._sets))


@lru_cache(maxsize=4)
def read_synonyms(place: str, *, one_speech: bool = False) -> Synonyms:
    """Read synonym sets, once per process.

    Args:
        place: a folder with the database of WordNet (``data.noun`` and so on), or a text file in UTF-8 with one set per
            line: words separated by blanks, after an optional part of speech with a colon, as in
            ``adjective: good fine``. Empty lines and lines that begin with ``#`` are left out.
        one_speech: whether only words of a single part of speech have synonyms, and are synonyms.

    Raises:
        UsageError: the place does not exist, has no synonym sets, or cannot be read.
    """
    path = Path(place).expanduser()
    files = {speech: path / name for speech, name in WORDNET_FILES.items()} if path.is_dir() else {"": path}
    sets, total = [], hashlib.sha256()
    try:
        for speech, file in files.items():
            content = file.read_bytes()
            total.update(hashlib.sha256(content).digest())
            lines = content.decode("utf-8").splitlines()
            sets += [one for one in (_wordnet(lines, speech) if speech else _listed(lines)) if len(one.words) > 1]
    except OSError as error:
        raise UsageError(f"synonyms {place}: {error.strerror or error}: {error.filename}") from error
    except (ValueError, LookupError) as error:
        raise UsageError(f"synonyms {place}: {file.name} is not a text of synonym sets: {error}") from error
    if not sets:
        raise UsageError(f"synonyms {place} has no set of two words; write one set per line, like 'good fine'")
    if one_speech and not all(one.speech for one in sets):
        raise UsageError(f"synonyms {place} has sets without a part of speech; write lines like 'adjective: good fine'")
    return Synonyms(sets, digest=total.hexdigest(), one_speech=one_speech)


def _wordnet(lines: list[str], speech: str) -> Iterator[SynonymSet]:
    """Synonym sets of a data file: ``offset file type count word id [word id ...]``, with the count in hexadecimal
    (wndb(5WN)); lines of the licence begin with blanks."""
    for line in lines:
        if line and not line.startswith(" "):
            fields = line.split(" ")
            yield SynonymSet(speech, _single(fields[4 : 4 + 2 * int(fields[3], 16) : 2]))


def _listed(lines: list[str]) -> Iterator[SynonymSet]:
    for line in lines:
        speech, colon, words = line.partition(":")
        if line.strip() and not line.startswith("#"):
            yield SynonymSet(speech.strip() if colon else "", _single((words if colon else line).split()))


def _single(words: list[str]) -> tuple[str, ...]:
    """Lower-cased words that are one word to an attack, each once; ``(p)`` and the like after adjectives is cut."""
    names = (word.partition("(")[0].lower() for word in words)
    return tuple(dict.fromkeys(name for name in names if find_words(name) == [(0, len(name))]))
