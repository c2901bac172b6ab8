"""What a run folder holds stays text in Markdown."""

import re
from html import escape

import pytest
from markdown_it import MarkdownIt

from scripts.report.markup import literal
from scripts.tables.formats import Table, markdown, plain

PLAIN = {"p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
HOSTILE = [
    "[a](https://b)", "![a](b)", "[a][b]", "[a]: b", "`a`", "<b>a</b>", "<!-- a", "_a_", "__a__",
    "a | b", "*a*", "~~a~~", "&lt;", "# a", "a\nb\n\n# c", "https://a.b", "a\\", "\\*a*", "> a",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_markdown_would_read_as_more_is_shown_as_it_is(text):
    table = Table("table1", text, ["Data", text], [[text, "1"]], [text])
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown(table))
    shown = re.escape(escape(" ".join(text.split()), quote=False))
    assert len(re.findall(rf"<(?:p|th|td|li)>{shown}</(?:p|th|td|li)>", html)) == 4
    assert set(re.findall(r"<(\w+)", html)) <= PLAIN
    link = MarkdownIt("commonmark").enable("strikethrough").render(f"[{literal(text)}](a)")
    assert re.fullmatch(rf'<p><a href="a">{shown}</a></p>\n', link)


@pytest.mark.parametrize("text", ["www.a.b", "https://a.b"])
def test_addresses_are_no_links_where_markdown_makes_them(text):
    assert plain(text) in (r"www\.a.b", r"https\://a.b")


@pytest.mark.parametrize("text", ["p_sd = 1", "pixels in [0, 1]", "+1.2 ± 0.3", "adam+lr=0.01"])
def test_numbers_and_names_need_no_escape(text):
    assert plain(text) == text
