"""Showing things in a notebook, and as text elsewhere."""

import sys
from html import escape
from typing import Any


def show_link(url: str, text: str) -> None:
    """Show a link: as HTML where IPython runs, else print the address."""
    shell: Any = sys.modules.get("IPython")
    if shell is None or shell.get_ipython() is None:
        print(url)
        return
    html = f'<a href="{escape(url)}" target="_blank">{escape(text)}</a>'
    shell.display.display({"text/html": html, "text/plain": url}, raw=True)
