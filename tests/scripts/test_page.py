"""The report's page: what it holds, what it refuses, and how it opens in a browser."""

import base64
import io
import re
import shutil

import pytest
from PIL import Image

from helpers.commands import ROOT
from scripts.report.markup import picture
from scripts.report.page import page

RESULTS = ROOT / "results"


def test_the_page_holds_its_pictures_and_needs_nothing_else(tmp_path):
    Image.new("RGB", (3000, 20), "red").save(tmp_path / "a.png")
    text = "# Title & more\n\n![A picture](a.png)\n\n| a | b |\n| --- | --- |\n| x | supported |\n"
    html = page(text, tmp_path)
    assert "<title>Title &amp; more</title>" in html
    (picture,) = re.findall('src="data:image/webp;base64,([^"]*)"', html)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).width == 2025
    assert '<td class="verdict supported">' in html
    assert "<figcaption>A picture</figcaption>" in html
    assert not re.search(r"<script|<link|src=\"(?!data:)|url\(|@import", html)
    assert "default-src 'none'" in html


def test_every_link_of_the_contents_leads_to_a_heading():
    html = page((RESULTS / "REPORT.md").read_text(), RESULTS)
    links = re.findall('href="#([^"]*)"', html)
    assert len(links) > 20
    assert {*links, "contents"} == set(re.findall('<h[23] id="([^"]*)"', html))
    assert len(html) < 2_000_000
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", (RESULTS / "REPORT.md").read_text())
    assert len(pictures) == len(set(pictures)) == html.count("<figure")


def test_a_pictures_words_are_shown_as_they_are(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "a.png")
    html = page("# Title\n\n" + picture("a.png", "Speed [ours] of a|b & *c*"), tmp_path)
    words = "Speed [ours] of a|b &amp; *c*"
    assert f"<figcaption>{words}</figcaption>" in html
    assert f'alt="{words}"' in html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <b onclick=x>b</b>",
        "<details open onclick=x>",
        "| a |\n| --- |\n| <script>x</script> |",
        "<details>\n<summary><script>x</script></summary>\n\nb\n\n</details>",
        "[a](javascript:x)",
        "![a](http://evil/x.png)",
        "![a](../secret.png)",
        "![a](link.png)",
        "![a](missing.png)",
    ],
)
def test_the_page_is_text_and_reads_no_picture_from_elsewhere(tmp_path, text):
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(b"\x89PNG")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    html = page(f"# Title\n\n{text}\n", folder)
    assert not re.search("<script|<b|<img|<details o|href", html.split("<body>")[1])
    if text.startswith("!"):
        assert "there is no picture" in html


@pytest.mark.browser
@pytest.mark.parametrize(("screen", "width"), [("phone", 400), ("desktop", 1280)])
def test_the_page_opens_in_a_browser(tmp_path, screen, width):
    """Every picture loads, nothing is wider than the screen, and dark mode is dark.

    To be looked at, its first screens and its print stay in the test's folder.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on PATH: on Debian, apt-get install chromium")
    file = tmp_path / "report.html"
    file.write_text(page((RESULTS / "REPORT.md").read_text(), RESULTS), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": width, "height": 2000}, offline=True)
        view, errors = context.new_page(), []
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.on("requestfailed", lambda request: errors.append(request.url[:80]))
        view.goto(file.as_uri())
        pictures = view.evaluate("[...document.images].map(picture => picture.naturalWidth)")
        assert len(pictures) > 5
        assert all(pictures)
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        wide = """width => [...document.querySelectorAll('body *')].filter(box =>
            !box.closest('.table') && box.getBoundingClientRect().right > width
            ).map(box => box.outerHTML.slice(0, 80))"""
        assert view.evaluate(wide, width) == []
        view.screenshot(path=tmp_path / f"{screen}.png")
        colour = "getComputedStyle(document.body).backgroundColor"
        assert view.evaluate(colour) == "rgb(255, 255, 255)"
        view.emulate_media(color_scheme="dark")
        assert view.evaluate(colour) == "rgb(22, 22, 22)"
        view.emulate_media(media="print", color_scheme="dark")  # paper is white, runs are listed
        assert view.evaluate(colour) == "rgb(255, 255, 255)"
        closed = "[...document.querySelectorAll('details td')].some(cell => !cell.offsetHeight)"
        assert not view.evaluate(closed)
        assert view.pdf(format="A4", path=tmp_path / "print.pdf").startswith(b"%PDF")
        assert errors == []
        browser.close()
