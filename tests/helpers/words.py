"""Whether the words of a figure can be read."""

from itertools import combinations

import matplotlib as mpl
from matplotlib.text import Text

from scripts.figures.style import STYLE


def assert_no_words_overlap(figure):
    """None but the labels of ticks, which stand in rows."""
    with mpl.rc_context(STYLE):
        figure.canvas.draw()
        texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
        boxes = {text: text.get_window_extent().shrunk(0.98, 0.9) for text in texts}
    assert len(texts) > 8
    ticks = {
        label
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
    }
    for one, other in combinations([text for text in texts if text not in ticks], 2):
        assert not boxes[one].overlaps(boxes[other]), (one.get_text(), other.get_text())
