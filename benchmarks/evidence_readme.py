"""What README tells of the evidence: answers to some questions, and leaderboards. Made anew from the stored outcomes.

    python benchmarks/evidence_readme.py [README.md] [--findings docs]

The answers stand between two marks: those to the questions of results/findings.toml with ``in_readme``. A leaderboard
stands below its command, ``$ robustbench-wb leaderboard TABLE``: the first table that the command prints. With
``--findings`` the page of findings.py is written from the same answers, which takes half of the time of both scripts.
"""

import argparse
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from findings import EVIDENCE, QUESTIONS, Answer, Question, answer, read_questions, sentence, write_page

from robustbench_wb.errors import ExitCode, HarnessError, UsageError
from robustbench_wb.text_files import read_text, reason_of

MARKS = ("<!-- findings -->", "<!-- end of findings -->")
WIDTH = 140
"""Length of a line of README."""
LEADERBOARD = re.compile(r"(?<=^\$ robustbench-wb )(leaderboard \S+)\n.*?(?=^```)", re.MULTILINE | re.DOTALL)
"""The command of a leaderboard, and what stands below it."""


def answers_text(questions: Sequence[Question], answers: Mapping[str, Sequence[Answer]]) -> Iterator[str]:
    """The questions of README with their measured answers, each an item of a Markdown list."""
    for one in questions:
        known = [found for found in answers[one.name] if found.checked.evidence is not None]
        if one.in_readme and known:
            item = f"- *{one.question}* {sentence(one, known)}"
            yield textwrap.fill(item, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def first_table(command: str) -> str:
    """A command of the tool, and the first table that it prints, with its notes.

    Raises:
        UsageError: the command failed; its message has been printed.
    """
    words = [sys.executable, "-m", "robustbench_wb", *command.split()]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise UsageError(f"{command} failed with exit code {done.returncode}")
    title, rows, *_ = done.stdout.split("\n\n")
    return f"{command}\n{title}\n\n{rows}\n"


def text_around(file: str) -> tuple[str, str]:
    """What stands before and after the answers of a file.

    Raises:
        UsageError: the file cannot be read, or does not have the marks of the answers.
    """
    begin, end = MARKS
    try:
        before, *rest = read_text(file).split(begin)
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {reason_of(error)}") from error
    after = begin.join(rest).split(end)[1:]
    if len(rest) != 1 or len(after) != 1:
        raise UsageError(f"{file} needs the marks {begin} and {end}, in this order and once each")
    return before, after[0]


def main() -> int:
    """Write the answers and leaderboards of a file anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readme", nargs="?", default="README.md", help="default: %(default)s")
    parser.add_argument("--questions", default=QUESTIONS, help="default: %(default)s")
    parser.add_argument("--version", default=EVIDENCE, help="table of the evidence; default: %(default)s")
    parser.add_argument("--findings", metavar="FOLDER", help="folder of the page of findings; default: not written")
    given = parser.parse_args()
    begin, end = MARKS
    try:
        before, after = text_around(given.readme)
        scale, questions = read_questions(given.questions)
        answers = answer(questions, scale=scale, version=given.version)
        items = "\n".join(answers_text(questions, answers))
        text = LEADERBOARD.sub(lambda found: first_table(found[1]), f"{before}{begin}\n{items}\n{end}{after}")
    except HarnessError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    Path(given.readme).write_text(text, encoding="utf-8")
    if given.findings is not None:
        write_page(given.findings, questions, answers, version=given.version)
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
