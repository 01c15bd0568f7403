"""Names, slugs and cursors."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from a360_hub_service.errors import Invalid
from a360_hub_service.services.naming import check_name, check_volume_name, slugify
from a360_hub_service.services.paging import decode_cursor, encode_cursor, slice_by


@pytest.mark.row("C10")
@given(st.text(max_size=200), st.integers(12, 63))
def test_slugs_fit_addresses(text: str, limit: int) -> None:
    slug = slugify(text, limit=limit)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", slug)
    assert len(slug) <= limit


@pytest.mark.row("C10")
def test_long_names_that_begin_alike_get_different_slugs() -> None:
    first, second = "churn " * 20 + "a", "churn " * 20 + "b"
    assert slugify(first) != slugify(second)
    assert slugify("Customer Churn") == "customer-churn"


@pytest.mark.row("F183", "F209", "C01")
@pytest.mark.parametrize(
    "name", ["ab", "a" * 64, "Upper", "with space", "under_score", "-a-b", "a-b-", "a.b.c"]
)
def test_volume_names_that_break_the_rules(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_volume_name(name)
    assert caught.value.errors[0].field == "volume_name"
    assert caught.value.hint


@pytest.mark.row("F183", "F209", "C01")
@given(st.from_regex(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", fullmatch=True))
def test_volume_names_that_keep_them(name: str) -> None:
    assert check_volume_name(name) == name


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b"])
def test_names_nobody_can_read_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        check_name("name", name)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=50))
def test_cursors_come_back(value: str) -> None:
    assert decode_cursor(encode_cursor(value)) == value


@pytest.mark.parametrize("cursor", ["%%%", "a", "AA==", "ÄÖ", "////"])
def test_cursors_of_others_are_refused(cursor: str) -> None:
    with pytest.raises(Invalid):
        decode_cursor(cursor)


@given(st.sets(st.text("abcdef", min_size=1, max_size=4), max_size=30), st.integers(1, 7))
def test_pages_of_a_list_hold_each_item_once(names: set[str], limit: int) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        items, cursor = slice_by(sorted(names), lambda name: name, limit=limit, cursor=cursor)
        seen += items
        if cursor is None:
            break
    assert seen == sorted(names)
