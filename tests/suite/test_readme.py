"""The README's Python runs as it stands there."""

import re
import warnings
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(snippet):
    names = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_the_first_snippet_runs_and_masks():
    names = run(SNIPPETS[0])
    assert all(state["step"] == 10 for state in names["optimizer"].state.values())


@pytest.mark.integration
@pytest.mark.parametrize("library", ["accelerate", "lightning"])
def test_the_snippet_of_a_library_trains(library):
    (snippet,) = (each for each in SNIPPETS[1:] if library in each)
    assert snippet.count("\n") < 40
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice
        names = run(snippet)
    net = getattr(names["model"], "net", names["model"])
    # it learns the sum of the inputs, whose weights are all 1
    assert (net.weight - 1).abs().mean() < 0.5
