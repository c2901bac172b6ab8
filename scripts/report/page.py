"""A Markdown report as one HTML page that needs nothing else: style and pictures are inside.

The text is data: of HTML in it, only folded lists are kept, and no picture from elsewhere is read.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

from scripts.titles import anchor
from scripts.verdicts.forest import SIGNS
from scripts.verdicts.judge import CONTRADICTED, EXCLUDED, NO_EFFECT, NOT_RUN, SMALLER, SUPPORTED

STYLE = Path(__file__).with_name("page.css")
# Signs beside the colours, for those who do not see them
_SIGNS = {**{word: sign for word, (sign, *_) in SIGNS.items()}, NOT_RUN: "–"}
_CLASSES = {
    SUPPORTED: "supported", SMALLER: "supported", CONTRADICTED: "contradicted",
    NO_EFFECT: "no-effect", EXCLUDED: "excluded",
}  # fmt: skip
_SCALE = 0.675  # of a picture's 200 dots per inch: enough to read its smallest words
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
    """Give headings their names, verdicts' cells a sign and class, lone pictures a figure."""
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        children = token.children or []
        if before.type == "heading_open":
            before.attrs["id"] = anchor(token.content)
        elif before.type == "td_open" and (word := _verdict(token.content)):
            before.attrs["class"] = f"verdict {_CLASSES.get(word, 'undecided')}"
            children[0].content = f"{_SIGNS[word]} {token.content}"
        elif before.type == "paragraph_open" and [child.type for child in children] == ["image"]:
            before.tag = after.tag = "figure"
            children[0].meta["caption"] = True


def _verdict(cell: str) -> str | None:
    """The verdict that a cell holds, alone or with words in brackets or after a comma."""
    words = sorted(_SIGNS, key=len, reverse=True)
    return next((word for word in words if re.fullmatch(rf"{word}( \(.*\))?(, .*)?", cell)), None)


def _picture(token: Token, folders: Sequence[Path]) -> str:
    """A picture below one of the folders, inside the page; of another, only its text."""
    source = str(token.attrs["src"])
    text = escape("".join(child.content for child in token.children or []))  # without escapes
    for folder in folders:
        path = (folder / source).resolve()
        if path.is_relative_to(folder.resolve()) and path.suffix == ".png" and path.is_file():
            content = base64.b64encode(_small(path)).decode()
            image = f'<img src="data:image/webp;base64,{content}" alt="{text}">'
            caption = f"<figcaption>{text}</figcaption>" if token.meta.get("caption") else ""
            return image + caption
    return f"<em>{text}: there is no picture {escape(source)} beside the report</em>"


def _small(path: Path) -> bytes:
    """A picture as WebP, of a few dozen kilobytes, so that the page can be sent by mail."""
    content = io.BytesIO()
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize([round(_SCALE * side) for side in picture.size])
        small.save(content, "WEBP", quality=10, method=6)
    return content.getvalue()


def _line(line: str) -> str:
    """A line of HTML in the text: what folds a list, or else as text."""
    if line in ("<details>", "</details>"):
        return f"{line}\n"
    begin, end = _SUMMARY
    if line.startswith(begin) and line.endswith(end):
        return f"{begin}{escape(unescape(line[len(begin) : -len(end)]))}{end}\n"
    return escape(line)
