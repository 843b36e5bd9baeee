"""Screenshots of HTML pages for a review by eye: desktop and phone, light and dark, first screen and whole page.

    python benchmarks/screenshots.py report.html [leaderboard.html ...] --out DIR

Needs a Chromium on the PATH. Prints, for each page and width, how many pixels wide its content is: a page that is wider
than the window scrolls sideways, which only tables in their own frames may.
"""

import argparse
import shutil
import sys
from itertools import product
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WINDOWS = {1280: 900, 390: 844}
SCHEMES = ("light", "dark")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path, help="HTML files")
    parser.add_argument("--out", type=Path, default=Path("screenshots"), help="folder of the PNG files")
    options = parser.parse_args()
    console = Console()
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        console.print(f"no browser: install one of {', '.join(BROWSERS)}")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
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
