"""Endpoints do not need the Hub: callers see nothing of its death, and it finds them again."""

import threading
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from a360mdk import A360AI
from examples.demo import line
from examples.demo.line import Published, Record
from examples.demo.people import API, Person
from tests.e2e.conftest import CHURN
from tests.support.hub import Platform
from tests.support.service import wait_for

pytestmark = [pytest.mark.xdist_group("e2e"), pytest.mark.slow, pytest.mark.timeout(600)]
ROW = {"age": 40.0, "visits": 3.0}


class Callers:
    """Threads that call an endpoint without pause and count what they are answered."""

    def __init__(self, published: Published, number: int = 2) -> None:
        self.url = published.endpoint["url"]
        self.headers = {"Content-Type": "application/json", "apikey": published.api_key}
        self.good, self.bad = 0, list[str]()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(number)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(headers=self.headers, timeout=30, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self.url, json=ROW)
                except httpx.HTTPError as error:
                    self.bad.append(repr(error))
                    continue
                if answer.status_code == 200:
                    self.good += 1
                else:
                    self.bad.append(f"{answer.status_code} {answer.text}")


@pytest.fixture
def model(running: Platform, people: dict[str, Person]) -> Record:
    """A small model trained outside a workspace, approved."""
    scientist = people["scientist"]
    project = line.create_project(scientist, "Visits", "City", "", "visits")
    line.add_collaborators(scientist, project, "reviewer", "engineer")
    rng = np.random.default_rng(5)
    features = pd.DataFrame({"age": rng.normal(50, 9, 200), "visits": rng.normal(3, 1, 200)})
    target = pd.Series((features["visits"] > 3).astype(int), name="many")
    a360ai = A360AI(api_url=running.url + API, token=scientist.token, project_id=project["id"])
    a360ai.import_model(
        model_name="visits",
        experiment_name="elsewhere",
        model_artifact_object_in_memory=LogisticRegression().fit(features.values, target),
        model_flavor="sklearn",
        model_type="classification",
        enable_drift_monitoring=True,
        train_features=features,
        train_target=target,
        feature_names=["age", "visits"],
    )
    found = line.model_of(scientist, project, "visits")
    return line.review(scientist, people["reviewer"], found, "")


def test_callers_see_nothing_of_a_killed_hub_and_the_next_one_can_withdraw(
    running: Platform, people: dict[str, Person], model: Record, tmp_path: Path
):
    engineer = people["engineer"]
    repository = line.commit_folder(CHURN, tmp_path / "visits.git")
    line.package(
        engineer,
        model,
        repository=repository,
        script_name="predict.py",
        registry_type="none",
        builder="bundle",
    )
    sizes = {"cpu_request": 0.1, "cpu_limit": 1, "memory_request": 0.1, "memory_limit": 1}
    published = line.publish(engineer, model, target="process", **sizes)
    with Callers(published) as callers:
        wait_for(lambda: callers.good > 50)
        running.kill_hub()
        with pytest.raises(httpx.HTTPError):
            engineer.api("GET", "/me")
        running.start()
        (listed,) = [item for item in engineer.listing("/endpoints") if item["model_id"] == model["id"]]
        assert listed["url"] == published.endpoint["url"]
        assert listed["status"] == published.endpoint["status"]
        after = callers.good
        wait_for(lambda: callers.good > after + 50)
    assert callers.bad == []
    line.withdraw(engineer, model)
    answer = httpx.post(callers.url, json=ROW, headers=callers.headers, trust_env=False)
    assert answer.status_code == 404
    assert engineer.api("GET", f"/models/{model['id']}")["status"] == "Ready to Publish"
