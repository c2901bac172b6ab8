"""The README's Python runs as it stands there."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_snippet_runs_and_masks():
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert all(state["step"] == 10 for state in names["optimizer"].state.values())
