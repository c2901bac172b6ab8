"""The words of the command line, before Hydra reads them."""

from __future__ import annotations

import re
import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_SWEEP = ("-m", "--multirun")


def ordered(words: list[str]) -> list[str]:
    """The words with -m behind the others, between which Hydra's parser would end at it."""
    flags = [word for word in words if word in _SWEEP]
    return [word for word in words if word not in _SWEEP] + flags


def quoting(words: list[str]) -> str:
    """How to quote the first word that Hydra cannot parse as it is; "" if quotes help with none."""
    parser = OverridesParser.create()
    for word in words:
        key, equals, value = word.partition("=")
        quoted = f"{key}='{value.replace(chr(39), chr(92) + chr(39))}'"
        if equals and not word.startswith("-") and not _parsed(parser, word):
            plain = not re.search(r'[$`"\\!]', quoted)  # in double quotes, for a shell
            if _parsed(parser, quoted):
                return (
                    f"{word}: Hydra takes =, ~, letters beyond ASCII and the like in quotes alone. "
                    f"Write " + (f'"{quoted}"' if plain else shlex.quote(quoted))
                )
    return ""


def _parsed(parser: OverridesParser, word: str) -> bool:
    try:
        parser.parse_override(word)
    except HydraException:
        return False
    return True
