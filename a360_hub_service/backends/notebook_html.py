"""A notebook as one harmless page of HTML: a script that reads it on stdin and writes the page to stdout.

It runs in a process of its own (:mod:`a360_hub_service.backends.notebooks`) and imports nothing of the
service. Nothing in the notebook is executed. Whatever the notebook brings passes an allow-list of tags,
attributes, addresses and styles, cell by cell and then as a whole; the headers the page is served with
would stop what came through all the same.
"""

import html
import json
import re
import secrets
import sys
from html.parser import HTMLParser
from typing import Any

import nbformat
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
IMAGE = re.compile(r"data:image/(?:png|jpeg|gif|webp|svg\+xml);base64,[A-Za-z0-9+/=\s]*")
_PICTURE = re.compile(rf"({IMAGE.pattern.split(',')[0]},)([A-Za-z0-9+/=\s]{{200,}})")
# A colour, a size, a word: nothing that names another resource.
VALUE = re.compile(r"(?:[#\w.,%+\- ]|(?:rgb|rgba|hsl|hsla)\([\d.,%/ ]*\))+")
VOID = _words("br col hr img")
NOT_FOR_PEOPLE = _words(
    "audio canvas frameset head iframe math noembed noframes noscript object script select style svg "
    "template textarea title video xmp"
)
"""What stands in these tags goes with them."""

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
# White whatever the reader prefers: figures and tables come with the colours they were drawn for white with.
STYLE = """
html { color-scheme: light; }
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
.output_area, .rendered_html { overflow-x: auto; }
img { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13px; margin: .5rem 0; overflow-wrap: break-word; }
th, td { border: 1px solid #dfe3e8; padding: .2rem .5rem; text-align: left; }
.anchor-link { margin-left: .25em; text-decoration: none; visibility: hidden; }
:hover > .anchor-link, .anchor-link:focus { visibility: visible; }
.ansi-bold { font-weight: bold; } .ansi-underline { text-decoration: underline; }
.ansi-red-fg, .ansi-red-intense-fg { color: #b3261e; }
.ansi-green-fg, .ansi-green-intense-fg { color: #1b6e3c; }
.ansi-blue-fg, .ansi-blue-intense-fg { color: #1f4fb2; }
.ansi-cyan-fg, .ansi-cyan-intense-fg { color: #0b6b75; }
.ansi-yellow-fg, .ansi-yellow-intense-fg { color: #7a5900; }
.ansi-magenta-fg, .ansi-magenta-intense-fg { color: #8a2f87; }
.ansi-red-bg, .ansi-red-intense-bg { background: #fbd9d6; }
.ansi-green-bg, .ansi-green-intense-bg { background: #d3f0de; }
.ansi-blue-bg, .ansi-blue-intense-bg { background: #dbe6fd; }
.ansi-cyan-bg, .ansi-cyan-intense-bg { background: #d2f0f3; }
.ansi-yellow-bg, .ansi-yellow-intense-bg { background: #fbeec4; }
.ansi-magenta-bg, .ansi-magenta-intense-bg { background: #f6dcf5; }
.ansi-default-inverse-fg { color: #fff; } .ansi-default-inverse-bg { background: #1c1e21; }
"""


class Cleaner(HTMLParser):
    """Writes anew what the allow-lists leave: known tags, each closed, known attributes, and text as text.

    So it does not matter how a browser would have read the original: nothing of it is copied as it was.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []
        self._left_out: list[str] = []

    def cleaned(self, markup: str) -> str:
        """Return what is left of some markup."""
        self.feed(markup)
        self.close()
        self._parts.extend(f"</{tag}>" for tag in reversed(self._open))
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag, or leave out what is in it."""
        if tag in NOT_FOR_PEOPLE:
            self._left_out.append(tag)
        elif tag in TAGS and not self._left_out:
            self._parts.append(f"<{tag}{_attributes(tag, attrs)}>")
            if tag not in VOID:
                self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take ``<br/>`` as ``<br>``; of what is left out there is nothing between."""
        if tag not in NOT_FOR_PEOPLE:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Close a tag that is open, with all that was opened in it."""
        if self._left_out:
            if tag == self._left_out[-1]:
                self._left_out.pop()
        elif tag in self._open:
            while (closed := self._open.pop()) != tag:
                self._parts.append(f"</{closed}>")
            self._parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        """Write text as text."""
        if not self._left_out:
            self._parts.append(html.escape(data, quote=False))


def _attributes(tag: str, given: list[tuple[str, str | None]]) -> str:
    kept: dict[str, str] = {}
    for name, value in given:
        value = (value or "").strip()
        if name == "style":
            value = _style(value)
            allowed = bool(value)
        elif name == "href":
            allowed = tag == "a" and LINK.match(value) is not None
        elif name == "src":
            allowed = tag == "img" and IMAGE.fullmatch(value) is not None
        else:
            allowed = name in ATTRIBUTES
        if allowed:
            kept.setdefault(name, value)
    if "href" in kept:
        kept["rel"] = "noopener noreferrer nofollow"
    return "".join(f' {name}="{html.escape(value)}"' for name, value in kept.items())


def _style(text: str) -> str:
    """The declarations of a style that are known and name nothing from elsewhere."""
    found = (declaration.partition(":") for declaration in text.split(";"))
    return "; ".join(
        f"{name.strip().lower()}: {value.strip()}"
        for name, _, value in found
        if name.strip().lower() in STYLES and VALUE.fullmatch(value.strip())
    )


class Pictures:
    """Takes the contents of pictures out of markup while it is cleaned, which is quicker.

    Their alphabet means nothing to HTML, wherever it stands. The names in their place cannot be guessed, so
    that no notebook shows one picture a thousand times.
    """

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}
        self._mark = secrets.token_hex(16)

    def hide(self, text: str) -> str:
        """Put names in place of contents."""
        return _PICTURE.sub(self._keep, text)

    def show(self, text: str) -> str:
        """Put each content back, once."""
        return re.sub(rf"{self._mark}x[0-9]+x", lambda found: self._kept.pop(found[0], ""), text)

    def _keep(self, found: re.Match[str]) -> str:
        name = f"{self._mark}x{len(self._kept)}x"
        self._kept[name] = found[2]
        return found[1] + name


def clean(markup: str) -> str:
    """Return what the allow-list leaves of some markup."""
    return Cleaner().cleaned(markup)


def _joined(markup: Any) -> str:
    """Notebooks hold text also as lists of lines."""
    return "".join(markup) if isinstance(markup, list) else str(markup)


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
    _keep_lines(document)
    exporter = HTMLExporter(template_name="basic", sanitize_html=True, config=Config())
    pictures = Pictures()
    exporter.register_filter("clean_html", lambda markup: clean(pictures.hide(_joined(markup))))
    body, resources = exporter.from_notebook_node(document)
    colours = "".join(resources.get("inlining", {}).get("css", [])[:1])
    return PAGE.format(
        title=html.escape(title),
        note=html.escape(note),
        style=STYLE + _plain_css(colours),
        body=pictures.show(clean(pictures.hide(body))),
    )


def _keep_lines(notebook: Any) -> None:
    """Have raw cells of no other format shown line by line, as their authors see them."""
    for cell in notebook.cells:
        if cell.cell_type == "raw" and not cell.metadata.get("raw_mimetype"):
            cell.cell_type, cell.source = "markdown", f"<pre>{html.escape(cell.source)}</pre>"


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
