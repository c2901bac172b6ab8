"""A Markdown report as one HTML page that needs nothing else: style and pictures are inside."""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path

from markdown_it import MarkdownIt

from scripts.verdicts.judge import VERDICTS
from scripts.verdicts.text import OTHER_BASE

# No scripts and nothing from the network. Wide tables scroll by themselves, so that the page does
# not; pictures stay on white, which they were drawn for.
STYLE = """
:root { color-scheme: light; --text: #1b1b1b; --back: #fff; --line: #d5d5d5; --soft: #f4f4f4;
  --link: #0b5cad; --supported: #006b4b; --contradicted: #a63c00; --undecided: #555; }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --text: #e6e6e6;
  --back: #161616; --line: #3d3d3d; --soft: #232323; --link: #7db8f0; --supported: #4fc79c;
  --contradicted: #ff9a5c; --undecided: #a8a8a8; } }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; color: var(--text); background: var(--back);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); padding-bottom: 0.3rem; }
a { color: var(--link); }
code { font-size: 0.85em; background: var(--soft); padding: 0.1em 0.3em; border-radius: 3px; }
img { display: block; max-width: 100%; height: auto; margin: 1rem auto; background: #fff;
  border-radius: 4px; }
figure { margin: 1.5rem 0; }
figcaption { font-size: 0.85rem; text-align: center; }
.table { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { background: var(--soft); }
td:first-child { min-width: 9rem; }
.verdict { font-weight: 600; white-space: nowrap; }
.supported { color: var(--supported); } .contradicted { color: var(--contradicted); }
.undecided, .not-run { color: var(--undecided); }
summary { cursor: pointer; margin: 0.5rem 0; }
li { font-size: 0.9rem; }
@media print { body { max-width: none; font-size: 10pt; } .table { overflow: visible; }
  table { font-size: 7.5pt; } img { max-height: 20cm; width: auto; break-inside: avoid; }
  details::details-content { content-visibility: visible; height: auto; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""
# Marks beside the colours, for those who do not see them
MARKS = {"supported": "✓", "contradicted": "✗", "undecided": "?", "not run": "–"}
_IMAGE = re.compile(r'<p><img src="([^"]+)" alt="([^"]*)"\s*/?></p>')
_VERDICT = re.compile(rf"<td>({'|'.join(VERDICTS)})((?:{OTHER_BASE})?)</td>")


def page(text: str, folder: Path) -> str:
    """The page of a Markdown text whose pictures' paths are relative to `folder`."""
    body = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    body = body.replace("<table>", '<div class="table"><table>').replace(
        "</table>", "</table></div>"
    )
    body = _VERDICT.sub(_badge, body)
    body = _IMAGE.sub(lambda found: _figure(folder / found[1], found[2]), body)
    title = html.escape(text.splitlines()[0].lstrip("# "))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _badge(found: re.Match[str]) -> str:
    word, more = found.groups()
    kind = word.replace(" ", "-")
    return f'<td class="verdict {kind}">{MARKS[word]} {word}{more}</td>'


def _figure(path: Path, text: str) -> str:
    """A picture with its text below."""
    return (
        f'<figure><img src="{_inside(path)}" alt="{text}"><figcaption>{text}</figcaption></figure>'
    )


def _inside(path: Path) -> str:
    """A picture as a data: URI."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
