"""The command: python -m lrd.conformance package.module:Optimizer --keep-prob 0.3 [name=value …]"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import sys
from typing import Any

import torch

from lrd import conformance
from lrd.conformance import Make, check

_P_NAMES = ("keep_prob", "mask_prob", "update_prob", "lr_dropout", "dropout", "p")


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    if not name:
        raise SystemExit(f"name an optimizer as package.module:Optimizer, got {path!r}")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SystemExit(f"there is no {path}: {error}") from error


def _given(words: list[str]) -> dict[str, Any]:
    """Arguments as name=value; a value that is no Python literal is a string."""
    given = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise SystemExit(f"give arguments of the optimizer as name=value, got {word!r}")
        try:
            given[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[name] = value
    return given


def _makers(cls: Any, base: Any, p: float, given: dict[str, Any]) -> tuple[Make, Make]:
    """What makes the optimizer, or wraps it around its base, and what makes the base."""
    own, plain = (inspect.signature(kind).parameters for kind in (cls, base))
    shared = {name: value for name, value in given.items() if name in plain}
    if "momentum" in plain and "momentum" not in given:
        shared["momentum"] = 0.9
    wraps = next(iter(own)).startswith("optimizer")
    mine = {name: value for name, value in given.items() if name not in plain or not wraps}
    if not wraps:
        mine |= {name: value for name, value in shared.items() if name in own}
    own_values = [value for name, value in given.items() if name not in plain]
    if not any(type(value) is float and value == p for value in own_values):  # True is none
        names = [name for name in _P_NAMES if name in own]
        if not names:
            raise SystemExit(f"say which argument of {cls.__name__} is the probability: name={p}")
        mine.setdefault(names[0], p)

    def make_base(params: Any) -> Any:
        return base(params, **shared)

    def make(params: Any) -> Any:
        return cls(make_base(params) if wraps else params, **mine)

    return make, make_base


def main(words: list[str] | None = None) -> int:
    """The command; returns 1 if there is a fault."""
    parser = argparse.ArgumentParser(
        "python -m lrd.conformance", description=conformance.__doc__.split("\n")[0]
    )
    parser.add_argument("optimizer", help="package.module:Optimizer, which may wrap another")
    parser.add_argument("arguments", nargs="*", help="name=value, arguments of the optimizer")
    parser.add_argument(
        "--keep-prob", type=float, required=True, help="0.5 hides that p is swapped"
    )
    parser.add_argument("--base", help="package.module:Optimizer without masks; default: torch's")
    parser.add_argument("--rescale", action="store_true", help="survivors are multiplied by 1/p")
    options = parser.parse_intermixed_args(words)
    cls = _named(options.optimizer)
    name = next((kind.__name__ for kind in cls.__mro__ if hasattr(torch.optim, kind.__name__)), "")
    base = _named(options.base or f"torch.optim:{name if name not in ('', 'Optimizer') else 'SGD'}")
    makers = _makers(cls, base, options.keep_prob, _given(options.arguments))
    found = check(*makers, options.keep_prob, options.rescale)
    print(
        f"{options.optimizer} beside {base.__module__}:{base.__name__}, p = {options.keep_prob:g}"
    )
    for finding in found:
        print(finding)
    return int(any(finding.found for finding in found))


if __name__ == "__main__":
    sys.exit(main())
