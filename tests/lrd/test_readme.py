"""The Python of lrd/README.md runs as it stands there, and docstrings say what they must."""

import re
import warnings
from pathlib import Path

import pytest

import lrd

README = Path(lrd.__file__).with_name("README.md")
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
OTHERS = ("accelerate", "lightning")
OWN = [snippet for snippet in SNIPPETS if not any(library in snippet for library in OTHERS)]


@pytest.mark.parametrize("snippet", OWN, ids=range(len(OWN)))
def test_a_snippet_runs_and_masks(snippet):
    names = {"__name__": "readme"}
    exec(compile(snippet, str(README), "exec"), names)
    optimizers = names.get("optimizers", [names["optimizer"]] if "optimizer" in names else [])
    assert optimizers or "mask" in names
    for optimizer in optimizers:
        assert optimizer.state
        assert all("keep_prob" in group for group in optimizer.param_groups)


@pytest.mark.integration
@pytest.mark.parametrize("library", OTHERS)
def test_the_snippet_of_a_library_trains(library):
    (snippet,) = (snippet for snippet in SNIPPETS if library in snippet)
    names = {"__name__": "readme"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice
        exec(compile(snippet, str(README), "exec"), names)
    net = getattr(names["model"], "net", names["model"])
    # it learns the sum of the inputs, whose weights are all 1
    assert (net.weight - 1).abs().mean() < 0.5


def test_every_public_name_is_in_the_readme():
    text = README.read_text()
    assert [name for name in lrd.__all__ if name not in text] == []


@pytest.mark.parametrize("cls", [lrd.SGD, lrd.RMSprop, lrd.Adam, lrd.AdamW, lrd.RAdam])
def test_the_docstring_explains_what_torchs_does_not(cls):
    for word in ("keep_prob", "seed", "index_offset", "compile", "Weight decay", "load_state_dict"):
        assert word in cls.__doc__
    assert f"lrd.{cls.__name__}([" in cls.__doc__
