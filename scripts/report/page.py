"""A Markdown report as one HTML page that needs nothing else: style and pictures are inside.

The text is data: of HTML in it, only folded lists are kept, and no picture from elsewhere is read.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from scripts.verdicts.text import WORDS

STYLE = Path(__file__).with_name("page.css")
# Marks beside the colours, for those who do not see them
MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not run": "–"}
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SUMMARY = "<summary>", "</summary>"


def page(text: str, *folders: Path) -> str:
    """Takes a Markdown text and the folders its pictures are looked for in, returns the page."""
    markdown = MarkdownIt("commonmark").enable("table")
    rules = {
        "image": lambda tokens, place, *_: _picture(tokens[place], folders),
        "html_block": lambda tokens, place, *_: "".join(
            map(_line, tokens[place].content.split("\n"))
        ),
        "html_inline": lambda tokens, place, *_: escape(tokens[place].content),
        "table_open": lambda *_: '<div class="table"><table>\n',
        "table_close": lambda *_: "</table></div>\n",
    }
    markdown.renderer.rules |= rules  # type: ignore[operator]
    tokens = markdown.parse(text)
    _mark(tokens)
    body = markdown.renderer.render(tokens, markdown.options, {})
    title = escape(text.splitlines()[0].lstrip("# "))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{STYLE.read_text()}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def _mark(tokens: Sequence[Token]) -> None:
    """Give cells that hold a verdict its mark and class, and pictures that stand alone a figure."""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        children = token.children or []
        if before.type == "td_open" and token.content in WORDS:
            word = WORDS[token.content]
            before.attrs["class"] = f"verdict {word.replace(' ', '-')}"
            children[0].content = f"{MARKS[word]} {token.content}"
        elif before.type == "paragraph_open" and [child.type for child in children] == ["image"]:
            before.tag = after.tag = "figure"
            children[0].meta["caption"] = True


def _picture(token: Token, folders: Sequence[Path]) -> str:
    """A picture below one of the folders, inside the page; of another, only its text."""
    source, text = str(token.attrs["src"]), escape(token.content)
    for folder in folders:
        path = (folder / source).resolve()
        if path.is_relative_to(folder.resolve()) and path.suffix == ".png" and path.is_file():
            content = base64.b64encode(path.read_bytes()).decode()
            image = f'<img src="data:image/png;base64,{content}" alt="{text}">'
            caption = f"<figcaption>{text}</figcaption>" if token.meta.get("caption") else ""
            return image + caption
    return f"<em>{text}: there is no picture {escape(source)} beside the report</em>"


def _line(line: str) -> str:
    """A line of HTML in the text: what folds a list, or else as text."""
    if line in ("<details>", "</details>"):
        return f"{line}\n"
    begin, end = _SUMMARY
    if line.startswith(begin) and line.endswith(end):
        return f"{begin}{escape(unescape(line[len(begin) : -len(end)]))}{end}\n"
    return escape(line)
