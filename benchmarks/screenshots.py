"""Screenshots of HTML pages and of terminals for a review by eye.

    python benchmarks/screenshots.py report.html [leaderboard.html ...] --out DIR
    python benchmarks/screenshots.py --terminal "leaderboard --results R" --terminal "diff v1 v2 --results R"

Pages are shown on a desktop and on a phone, light and dark, first screen and whole page. Needs a Chromium on the PATH.
Prints, for each page and width, how many pixels wide its content is: a page that is wider than the window scrolls
sideways, which only tables in their own frames may. Commands run in a real terminal of 80 columns; what they show is
kept as text and as an SVG picture with its colours. Prints how many columns the widest line takes.
"""

import argparse
import fcntl
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import termios
from itertools import product
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOWS = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")
COLUMNS = 80


def terminal(command: str) -> str:
    """What a command of the program shows in a terminal of 80 columns, with its colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    words = [sys.executable, "-m", "robustbench_wb", *shlex.split(command)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    shown = b""
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        try:
            while part := os.read(ours, 1 << 16):
                shown += part
        except OSError:  # Linux says so at the end of a terminal
            pass
    os.close(ours)
    return shown.decode(errors="replace").replace("\r\n", "\n")


def capture(commands: list[str], out: Path, console: Console) -> None:
    """Keep what commands show as text and as pictures."""
    for command in commands:
        text = Text.from_ansi(f"$ robustbench-wb {command}\n{terminal(command)}")
        name = "terminal-" + re.sub(r"[^a-z0-9]+", "-", command.lower())[:40].strip("-")
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            record = Console(record=True, width=COLUMNS, file=nowhere, legacy_windows=False)
            record.print(text)
            record.save_svg(str(out / f"{name}.svg"), title=command, clear=False)
        (out / f"{name}.txt").write_text(text.plain + "\n", encoding="utf-8")
        widest = max(map(len, text.plain.splitlines()[1:]), default=0)
        console.print(f"{name}: {widest} columns wide")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path, help="HTML files")
    parser.add_argument("--terminal", action="append", default=[], help="command without the program; repeatable")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="folder of the files")
    options = parser.parse_args()
    console = Console()
    options.out.mkdir(parents=True, exist_ok=True)
    capture(options.terminal, options.out, console)
    if not options.pages:
        return 0
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        console.print(f"no browser: install one of {', '.join(BROWSERS)}")
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for page, (width, height), scheme in product(options.pages, WINDOWS.items(), SCHEMES):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=1 if width > 1000 else 2,
            )
            shown = context.new_page()
            shown.goto(page.resolve().as_uri())
            name = f"{page.stem}-{width}-{scheme}"
            shown.screenshot(path=options.out / f"{name}.png")
            shown.screenshot(path=options.out / f"{name}-whole.png", full_page=True)
            console.print(f"{name}: content {shown.evaluate('document.documentElement.scrollWidth')} pixels wide")
            context.close()
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
