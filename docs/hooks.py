"""Hook of the documentation site: links to files of the repository that lie outside ``docs/``."""

import re
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

PAGES = {"../CONTRIBUTING.md": "contributing.md", "../CHANGELOG.md": "changelog.md", "../README.md": "index.md"}
"""Files outside ``docs/`` that the site includes as a page of its own."""
LINK = re.compile(r"\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, /, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to included files at their page; turn links to other files outside the site into plain text."""
    up = page.file.src_uri.count("/")

    def rewrite(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        outside = normpath(target)
        if outside.count("../") <= up:
            return link.group(0)  # a page of the site in a folder above
        name = "../" + outside.replace("../", "")
        return f"[{text}]({'../' * up}{PAGES[name]}{anchor or ''})" if name in PAGES else text

    return LINK.sub(rewrite, markdown)
