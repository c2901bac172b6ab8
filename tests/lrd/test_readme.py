"""The Python of lrd/README.md runs as it stands there, and docstrings say what they must."""

import re
from pathlib import Path

import pytest

import lrd

README = Path(lrd.__file__).with_name("README.md")
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs_and_masks(snippet):
    names = {"__name__": "readme"}
    exec(compile(snippet, str(README), "exec"), names)
    optimizers = names.get("optimizers", [names["optimizer"]] if "optimizer" in names else [])
    assert optimizers or "mask" in names
    for optimizer in optimizers:
        assert optimizer.state
        assert all("keep_prob" in group for group in optimizer.param_groups)


def test_every_public_name_is_in_the_readme():
    text = README.read_text()
    assert [name for name in lrd.__all__ if name not in text] == []


@pytest.mark.parametrize("cls", [lrd.SGD, lrd.RMSprop, lrd.Adam, lrd.AdamW, lrd.RAdam])
def test_the_docstring_explains_what_torchs_does_not(cls):
    for word in ("keep_prob", "seed", "index_offset", "compile", "Weight decay", "load_state_dict"):
        assert word in cls.__doc__
    assert f"lrd.{cls.__name__}([" in cls.__doc__
