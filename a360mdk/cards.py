"""How the kit's objects show themselves in a notebook: a title and a few facts, as HTML."""

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit

_LONGEST = 400
_MOST = 12
_STYLE = "text-align: left; vertical-align: top; padding: 2px 12px 2px 0; overflow-wrap: anywhere"


def card(title: str, facts: Mapping[str, Any], link: str | None = None) -> str:
    """Return a title with a table of facts; all text is escaped, and what is None is left out.

    Args:
        title: what it is.
        facts: value by label; a mapping as value becomes ``name = value`` lines.
        link: address of the title, a path or http(s); anything else is left out.
    """
    head = escape(_short(title))
    if link and urlsplit(link).scheme in ("", "http", "https"):
        head = f'<a href="{escape(link)}" target="_blank" rel="noopener">{head}</a>'
    rows = "".join(
        f'<tr><th style="{_STYLE}">{escape(label)}</th><td style="{_STYLE}">{_value(value)}</td></tr>'
        for label, value in facts.items()
        if value is not None and value != {} and value != ""
    )
    return f"<div><strong>{head}</strong><table>{rows}</table></div>"


def listed(values: Mapping[str, Any], most: int = 3) -> str:
    """Return the first few of logged values as ``name=value`` for the text of a ``repr``."""
    shown = ", ".join(f"{name}={_number(value)}" for name, value in list(values.items())[:most])
    return shown + (", ..." if len(values) > most else "")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, Mapping):
        return escape(_short(str(value)))
    lines = [f"{name} = {_number(each)}" for name, each in list(value.items())[:_MOST]]
    if len(value) > _MOST:
        lines.append(f"and {len(value) - _MOST} more")
    return "<br>".join(escape(_short(line)) for line in lines)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
