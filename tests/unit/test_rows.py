"""The list of proven rows tells the truth."""

import pytest

from tests import rows


def test_a_row_counts_only_if_a_test_of_it_passed(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "rows.json")
    rows.merge([("a", "passed", ["F001", "M002"]), ("b", "failed", ["F002"]), ("c", "skipped", ["F001"])])
    assert rows.main() == 0
    printed = capsys.readouterr().out
    assert "F: 1 of 361" in printed
    assert "M: 1 of 173" in printed
    assert "skipped: F002" in printed
    assert "F: 360 rows have none\n  F002 F003 " in printed
    assert "M: 172 rows have none\n  M001 M003 " in printed


def test_a_later_run_replaces_a_test_s_outcome(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "rows.json")
    rows.merge([("a", "passed", ["F001"])])
    rows.merge([("a", "failed", ["F001"])])
    rows.main()
    assert "F: 0 of 361" in capsys.readouterr().out


def test_without_a_run_it_says_what_to_do(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "rows.json")
    assert rows.main() == 1
    assert "make test" in capsys.readouterr().err


def test_a_test_that_is_gone_proves_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "rows.json")
    rows.merge([("tests/unit/test_gone.py::a", "passed", ["F001"]), (f"{__file__}::b", "passed", ["F002"])])
    rows.main()
    assert "F: 1 of 361" in capsys.readouterr().out
