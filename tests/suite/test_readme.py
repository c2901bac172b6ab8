"""The README's Python runs as it stands there."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def run(snippet):
    names = {"__name__": "readme"}
    exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_the_first_snippet_runs_and_masks():
    names = run(SNIPPETS[0])
    assert all(state["step"] == 10 for state in names["optimizer"].state.values())
