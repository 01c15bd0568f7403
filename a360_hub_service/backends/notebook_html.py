"""A notebook as one harmless page of HTML: a script that reads it on stdin and writes the page to stdout.

It runs in a process of its own (:mod:`a360_hub_service.backends.notebooks`) and imports nothing of the
service. Nothing in the notebook is executed. Whatever the notebook brings passes an allow-list of tags,
attributes, addresses and styles, cell by cell and then as a whole; the headers the page is served with
would stop what came through all the same.
"""

import html
import json
import re
import sys
from typing import Any

import bleach
import nbformat
from bleach.css_sanitizer import CSSSanitizer
from nbconvert import HTMLExporter
from traitlets.config import Config


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TAGS = _words(
    "a abbr b blockquote br caption code col colgroup dd del details div dl dt em figcaption figure "
    "h1 h2 h3 h4 h5 h6 hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table "
    "tbody td tfoot th thead tr tt u ul var"
)
ATTRIBUTES = _words("align alt class colspan dir height id lang rowspan scope span start title width")
STYLES = _words(
    "background-color border border-collapse border-spacing color font-family font-size font-style "
    "font-weight letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right "
    "margin-top max-width min-width padding padding-bottom padding-left padding-right padding-top "
    "text-align text-decoration text-indent vertical-align white-space width"
)
LINK = re.compile(r"(https?://|mailto:|#)", re.IGNORECASE)
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*")
# What is between these tags is not for people. Only for looks: the allow-list decides what remains.
_NOT_TEXT = re.compile(r"<(script|style)\b[^>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{note}</p></header>
<main>{body}</main>
</body>
</html>
"""
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff; margin: 0 auto;
  max-width: 70rem; padding: 0 1rem 4rem; overflow-wrap: anywhere; }
header { border-bottom: 1px solid #c9ced6; margin-bottom: 1.5rem; }
header h1 { font-size: 1.25rem; margin: 1rem 0 0; }
header p { color: #4a5260; margin: .25rem 0 1rem; }
pre { font: 13px/1.45 ui-monospace, monospace; margin: 0; padding: .5rem .75rem; overflow-x: auto; }
.cell { margin: 0 0 1rem; }
.prompt { color: #4a5260; font: 12px ui-monospace, monospace; }
.input_area { background: #f5f6f8; border: 1px solid #dfe3e8; border-radius: 4px; }
.output_stderr { background: #fdf0ef; }
.output_error { background: #fdf0ef; border-left: 3px solid #b3261e; }
.output_area { overflow-x: auto; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; margin: .5rem 0; }
.ansi-bold { font-weight: bold; } .ansi-red-fg { color: #b3261e; } .ansi-green-fg { color: #1b6e3c; }
.ansi-blue-fg { color: #1f4fb2; } .ansi-cyan-fg { color: #0b6b75; } .ansi-yellow-fg { color: #7a5900; }
.ansi-magenta-fg { color: #8a2f87; }
th, td { border: 1px solid #dfe3e8; padding: .2rem .5rem; text-align: left; }
"""


def _allowed(tag: str, name: str, value: str) -> bool:
    """Whether a tag keeps an attribute."""
    if name == "href":
        return tag == "a" and LINK.match(value) is not None
    if name == "src":
        return tag == "img" and IMAGE.fullmatch(value) is not None
    return name == "style" or name in ATTRIBUTES


_CLEANER = bleach.Cleaner(
    tags=TAGS,
    attributes=_allowed,
    protocols=("http", "https", "mailto", "data"),
    strip=True,
    css_sanitizer=CSSSanitizer(allowed_css_properties=STYLES),
)


def clean(markup: Any) -> str:
    """Return what the allow-list leaves of some markup; lists of lines are joined first."""
    text = "".join(markup) if isinstance(markup, list) else str(markup)
    return str(_CLEANER.clean(_NOT_TEXT.sub("", text)))


def render(notebook: bytes, title: str, note: str) -> str:
    """Return the page.

    Args:
        notebook: as it is stored.
        title: what the page is called.
        note: a line above the notebook.

    Raises:
        ValueError: it is no notebook.
    """
    try:
        document = nbformat.reads(notebook.decode("utf-8"), as_version=4)
        nbformat.validate(document)
    except Exception as error:  # what a file holds can fail in any way
        raise ValueError(f"{type(error).__name__}: {error}".splitlines()[0]) from None
    # Widgets are scripts and their state; of these only the text that stands in for them is left.
    document.metadata.pop("widgets", None)
    exporter = HTMLExporter(template_name="basic", sanitize_html=True, config=Config())
    exporter.register_filter("clean_html", clean)
    body, resources = exporter.from_notebook_node(document)
    colours = "".join(resources.get("inlining", {}).get("css", [])[:1])
    return PAGE.format(
        title=html.escape(title),
        note=html.escape(note),
        style=STYLE + _plain_css(colours),
        body=clean(body),
    )


def _plain_css(text: str) -> str:
    """The colours of code as nbconvert gives them, without what could end the tag."""
    return text.replace("<", "")


def main() -> None:
    """Read the notebook, write the page; a refusal is a line on stderr and exit code 2."""
    about = json.loads(sys.argv[1])
    try:
        page = render(sys.stdin.buffer.read(), about["title"], about["note"])
    except ValueError as error:
        sys.stderr.write(str(error)[:500])
        sys.exit(2)
    sys.stdout.buffer.write(page.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
