"""The document's patterns take what the service takes, and nothing else."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import Field, ValidationError

from a360_hub_service.api import texts
from a360_hub_service.api.credentials import ADDRESS, REGION
from a360_hub_service.api.experiments import ExperimentForm
from a360_hub_service.api.routing import Form
from a360_hub_service.errors import Invalid
from a360_hub_service.services.naming import check_name, check_volume_name
from spawner_profiles.sizes import memory_bytes


def takes(check: Callable[[str], Any], text: str) -> bool:
    """Whether a rule of the service lets this text pass."""
    try:
        check(text)
    except (Invalid, ValueError):
        return False
    return True


@pytest.mark.parametrize(
    "text",
    [
        *("0Gi", "0.24Gi", "0.25Gi", "0.3Gi", "00.99Gi", "1Gi", "01.5Gi", "999.25Gi", "1000Gi", "3999.9Gi"),
        *("4000Gi", "4095.99Gi", "4096Gi", "4096.00Gi", "4096.1Gi", "4097Gi", "5000Gi", "10000Gi", "0.0Gi"),
        *("1GB", "1", ".5Gi", "1.Gi", "-1Gi", "1e3Gi"),
    ],
)
def test_memory(text: str) -> None:
    assert bool(re.search(texts.MEMORY["pattern"], text)) == takes(memory_bytes, text)


@pytest.mark.parametrize(
    "text",
    ["a", " a ", "a b", "", " ", "\t", "a\tb", "\ta\n", "Kundendaten 2026", "a\x85b", "a\x7f", "\u2003"],
)
def test_display_names(text: str) -> None:
    taken = takes(lambda name: check_name("name", name), text.strip())
    assert bool(re.search(texts.DISPLAY_NAME["pattern"], text)) == taken


@pytest.mark.parametrize("text", ["abc", " abc ", "ab", "-abc", "abc-", "a-c", "Abc", "a" * 63, "a" * 64, ""])
def test_volume_names(text: str) -> None:
    taken = takes(check_volume_name, text.strip())
    assert bool(re.search(texts.VOLUME_NAME["pattern"], text)) == taken


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (ADDRESS, "http://127.0.0.1:9000", True),
        (ADDRESS, "https://s3.example.org./path/of~it", True),
        (ADDRESS, "http://[::1]:9000", True),
        (ADDRESS, "http://my_host", False),
        (ADDRESS, "http://-host", False),
        (ADDRESS, "http://host:65536", False),
        (ADDRESS, "http://host:", False),
        (REGION, "eu-central-1", True),
        (REGION, "garage", True),
        (REGION, "7", False),
        (REGION, "us-", False),
    ],
)
def test_addresses_and_regions(pattern: str, text: str, fits: bool) -> None:
    assert bool(re.search(pattern, text)) == fits


@pytest.mark.parametrize("name", ["a\0b", " ", "", "n" * 513])
def test_features_have_names_that_every_database_stores(name: str) -> None:
    form = {
        "experiment_name": "e",
        "model_flavor": "sklearn",
        "input_signature": "a",
        "output_signature": "b",
    }
    assert ExperimentForm(**form, feature_names=["a", " b "]).feature_names == ["a", "b"]
    with pytest.raises(ValidationError):
        ExperimentForm(**form, feature_names=[name])


class Example(Form):
    """A form."""

    text: str = Field("x", min_length=1, max_length=3)
    count: texts.Whole = Field(1, ge=0)


def test_the_document_says_what_a_form_takes() -> None:
    properties = Example.model_json_schema()["properties"]
    assert properties["text"]["pattern"] == texts.SOME_TEXT
    assert (properties["count"]["type"], properties["count"]["minimum"]) == ("integer", 0)


@pytest.mark.parametrize("body", ['{"text": " a "}', '{"text": "a"}', '{"count": 5.0}', '{"count": 0}'])
def test_forms_take_what_fits(body: str) -> None:
    assert Example.model_validate_json(body, strict=True)


@pytest.mark.parametrize(
    "body",
    [
        '{"text": " a  "}',
        '{"text": " "}',
        '{"text": "\\u0000"}',
        '{"count": 0.5}',
        '{"count": "5"}',
        '{"count": -1}',
    ],
)
def test_forms_refuse_what_does_not(body: str) -> None:
    with pytest.raises(ValidationError):
        Example.model_validate_json(body, strict=True)
