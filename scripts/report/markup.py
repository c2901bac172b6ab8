"""What a run folder or a claim says, in the report's Markdown."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from scripts.tables.formats import IN_LINK, plain


def literal(value: Any) -> str:
    """What a run folder holds, as Markdown that shows it and does nothing else."""
    return plain(str(value), IN_LINK)


def picture(path: str, text: str) -> str:
    """A picture, by its path from the results folder, with its caption."""
    return f"![{literal(text)}]({quote(path)})"
