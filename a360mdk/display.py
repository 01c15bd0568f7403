"""Showing things in a notebook, and as text elsewhere."""

import sys
from html import escape
from typing import Any


def show_link(place: str, url: str, text: str) -> None:
    """Show a link: as HTML where IPython runs, else print the address.

    Args:
        place: where it leads in the browser, which knows the platform's public address; may be a path.
        url: the whole address, as text.
        text: what to click on.
    """
    shell: Any = sys.modules.get("IPython")
    if shell is None or shell.get_ipython() is None:
        print(url)
        return
    html = f'<a href="{escape(place)}" target="_blank">{escape(text)}</a>'
    shell.display.display({"text/html": html, "text/plain": url}, raw=True)
