"""What objects of the kit show of themselves."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from a360mdk import A360AI, DataRepo, Experiment, Model, Run
from a360mdk.cards import card
from tests.kit.conftest import Workspace

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tags and text of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def test_what_people_want_to_know(workspace: Workspace, monkeypatch: Any) -> None:
    ai = workspace.ai
    model = ai.get_or_create_model("churn", "2.0", "classification")
    experiment = model.get_or_create_experiment("Trees", "sklearn", np.ones((4, 2)), np.ones(4))
    features = np.arange(20.0).reshape(10, 2)
    with experiment.run_experiment() as run:
        run.log_model(LinearRegression().fit(features, features[:, 0]))
        run.log_metrics({"score": 0.123456789, "loss": 3})
        run.log_hyperparameters({"depth": 4})
    model.set_final_run(experiment, str(run.id))
    repo = ai.datarepo
    # From here on there is no network: what is shown is what is known.
    monkeypatch.setattr(ai.client, "send", lambda *a, **k: pytest.fail("asked the service"))
    assert repr(model) == f"<Model churn 2.0: Draft, final run {run.id}>"
    assert repr(experiment) == f"<Experiment Trees of churn 2.0: sklearn, final run {run.id}>"
    assert repr(run) == f"<Run {run.id} of Trees: finished, score=0.123457, loss=3>"
    assert repr(repo) == f"<DataRepo {repo.name}: local {repo.volume_name}>"
    for shown, parts in {
        model: ["Model churn 2.0", "Draft", "classification", str(run.id)],
        experiment: ["Experiment Trees", "churn 2.0", "sklearn", "ndarray: float64 (2,)", "no"],
        run: ["finished", "score = 0.123457", "depth = 4", "run_time"],
        repo: [str(repo.name), "folder", repo.volume_name],
        ai: [f"A360 project {workspace.project['name']}", repr(model), repr(experiment)],
    }.items():
        page = Page(str(shown._repr_html_()))
        for part in parts:
            assert part in page.text
    (link,) = Page(str(model._repr_html_())).links
    assert link == workspace.client.get(f"/models/{model.id}").json()["detail_url"]


def test_nothing_that_is_logged_or_named_becomes_markup() -> None:
    model = Model(model_name=EVIL, version=EVIL, model_type=EVIL, detail_url="javascript:alert(1)")
    experiment = Experiment(experiment_name=EVIL, model=model, input_signature=EVIL, model_flavor=EVIL)
    run = Run(experiment, id=EVIL, metrics={EVIL: EVIL}, hyperparameters={"x": [EVIL]}, status=EVIL)
    repo = DataRepo(name=EVIL, description=EVIL, volume_name=EVIL)
    for shown in (model, experiment, run, repo):
        page = Page(shown._repr_html_())
        assert set(page.tags) <= {"div", "strong", "table", "tr", "th", "td", "br"}
        assert EVIL in page.text
    assert 'href="/models/1?x=&quot;&gt;"' in card("m", {}, '/models/1?x=">')


def test_outside_a_workspace_the_text_says_what_is_missing(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("A360_API_URL", "A360_PROJECT_ID", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert A360AI()._repr_html_() is None
    assert repr(Model(model_name="m", version="1")) == "<Model m 1: not on the platform>"


def test_long_things_are_cut() -> None:
    page = Page(card("x" * 5000, {"Metrics": {f"m{number}": number for number in range(100)}}))
    assert len(page.text) < 2000
    assert "and 88 more" in page.text
