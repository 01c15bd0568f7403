"""The table of a model's life."""

import pytest

from a360_hub_service.lifecycle import (
    EDITABLE,
    TRANSITIONS,
    Command,
    State,
    WrongState,
    allowed_commands,
    next_state,
)

C04 = [
    "Draft",
    "In Review",
    "Needs Revisions",
    "Ready to Package",
    "Packaging",
    "Package Failed",
    "Ready to Publish",
    "Publishing",
    "Publish Failed",
    "Published",
    "Terminated",
]


def reachable(start: State, *, without: frozenset[Command] = frozenset()) -> set[State]:
    """States that commands lead to."""
    found, pending = {start}, [start]
    while pending:
        here = pending.pop()
        for (state, command), after in TRANSITIONS.items():
            if state is here and command not in without and after not in found:
                found.add(after)
                pending.append(after)
    return found


@pytest.mark.row("C04")
def test_the_states_are_those_of_the_ruling() -> None:
    assert [state.value for state in State] == C04


def test_every_state_can_be_reached_and_every_command_is_good_for_something() -> None:
    assert reachable(State.DRAFT) == set(State)
    assert {command for _, command in TRANSITIONS} == set(Command)


@pytest.mark.row("F255", "F285")
def test_without_an_approval_nothing_is_packaged_or_published() -> None:
    assert reachable(State.DRAFT, without=frozenset({Command.APPROVE})) == {
        State.DRAFT,
        State.IN_REVIEW,
        State.NEEDS_REVISIONS,
        State.TERMINATED,
    }


def test_what_may_be_edited_has_its_review_still_ahead() -> None:
    for state in EDITABLE:
        assert State.PUBLISHED not in reachable(state, without=frozenset({Command.APPROVE}))


@pytest.mark.row("F251", "F253", "F254", "F255", "F256", "F257", "F258", "F259")
@pytest.mark.parametrize(
    ("state", "command", "after"),
    [
        ("Draft", "submit", "In Review"),
        ("In Review", "deny", "Needs Revisions"),
        ("Needs Revisions", "submit", "In Review"),
        ("In Review", "approve", "Ready to Package"),
        ("Packaging", "package_succeeded", "Ready to Publish"),
        ("Packaging", "package_failed", "Package Failed"),
        ("Package Failed", "package", "Packaging"),
        ("Publishing", "publish_succeeded", "Published"),
        ("Publishing", "publish_failed", "Publish Failed"),
        ("Publish Failed", "publish", "Publishing"),
        ("Publish Failed", "package", "Packaging"),
        ("Published", "withdraw", "Ready to Publish"),
    ],
)
def test_the_steps_users_know(state: str, command: str, after: str) -> None:
    assert next_state(State(state), Command(command)).value == after


def test_the_end_is_the_end() -> None:
    assert allowed_commands(State.TERMINATED) == frozenset()


def test_a_wrong_command_is_told_what_would_be_right() -> None:
    with pytest.raises(WrongState, match=r"“In Review” cannot take the command “publish”.*approve, deny"):
        next_state(State.IN_REVIEW, Command.PUBLISH)
    with pytest.raises(WrongState, match="it can take: nothing"):
        next_state(State.TERMINATED, Command.REVISE)
