"""The life of a model as one frozen table: from which state a command leads to which.

The states are those of ruling C04, the commands those of rows F251 to F261 and what a user needs beside them.
Who may give a command is the business of :mod:`a360_hub_service.policy`; here stands only their order.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a model stands; the same words in database, API, kit and screen."""

    DRAFT = "Draft"
    IN_REVIEW = "In Review"
    NEEDS_REVISIONS = "Needs Revisions"
    READY_TO_PACKAGE = "Ready to Package"
    PACKAGING = "Packaging"
    PACKAGE_FAILED = "Package Failed"
    READY_TO_PUBLISH = "Ready to Publish"
    PUBLISHING = "Publishing"
    PUBLISH_FAILED = "Publish Failed"
    PUBLISHED = "Published"
    TERMINATED = "Terminated"


class Command(StrEnum):
    """What can be asked of a model, by a person or, for the outcomes, by a job."""

    SUBMIT = "submit"
    APPROVE = "approve"
    DENY = "deny"
    REVISE = "revise"
    PACKAGE = "package"
    PACKAGE_SUCCEEDED = "package_succeeded"
    PACKAGE_FAILED = "package_failed"
    PUBLISH = "publish"
    PUBLISH_SUCCEEDED = "publish_succeeded"
    PUBLISH_FAILED = "publish_failed"
    WITHDRAW = "withdraw"
    TERMINATE = "terminate"


_S, _C = State, Command
TRANSITIONS: Mapping[tuple[State, Command], State] = MappingProxyType(
    {
        (_S.DRAFT, _C.SUBMIT): _S.IN_REVIEW,
        (_S.NEEDS_REVISIONS, _C.SUBMIT): _S.IN_REVIEW,
        (_S.IN_REVIEW, _C.APPROVE): _S.READY_TO_PACKAGE,
        (_S.IN_REVIEW, _C.DENY): _S.NEEDS_REVISIONS,
        (_S.READY_TO_PACKAGE, _C.PACKAGE): _S.PACKAGING,
        (_S.PACKAGE_FAILED, _C.PACKAGE): _S.PACKAGING,
        (_S.READY_TO_PUBLISH, _C.PACKAGE): _S.PACKAGING,
        (_S.PUBLISH_FAILED, _C.PACKAGE): _S.PACKAGING,
        (_S.PACKAGING, _C.PACKAGE_SUCCEEDED): _S.READY_TO_PUBLISH,
        (_S.PACKAGING, _C.PACKAGE_FAILED): _S.PACKAGE_FAILED,
        (_S.READY_TO_PUBLISH, _C.PUBLISH): _S.PUBLISHING,
        (_S.PUBLISH_FAILED, _C.PUBLISH): _S.PUBLISHING,
        (_S.PUBLISHING, _C.PUBLISH_SUCCEEDED): _S.PUBLISHED,
        (_S.PUBLISHING, _C.PUBLISH_FAILED): _S.PUBLISH_FAILED,
        (_S.PUBLISHED, _C.WITHDRAW): _S.READY_TO_PUBLISH,
        # Taken back before a decision, for instance because the reviewer has left.
        (_S.IN_REVIEW, _C.REVISE): _S.DRAFT,
        # A change after the approval goes back to the start, so that somebody looks again.
        (_S.READY_TO_PACKAGE, _C.REVISE): _S.DRAFT,
        (_S.PACKAGE_FAILED, _C.REVISE): _S.DRAFT,
        (_S.READY_TO_PUBLISH, _C.REVISE): _S.DRAFT,
        (_S.PUBLISH_FAILED, _C.REVISE): _S.DRAFT,
        (_S.DRAFT, _C.TERMINATE): _S.TERMINATED,
        (_S.NEEDS_REVISIONS, _C.TERMINATE): _S.TERMINATED,
        (_S.READY_TO_PACKAGE, _C.TERMINATE): _S.TERMINATED,
        (_S.PACKAGE_FAILED, _C.TERMINATE): _S.TERMINATED,
        (_S.READY_TO_PUBLISH, _C.TERMINATE): _S.TERMINATED,
        (_S.PUBLISH_FAILED, _C.TERMINATE): _S.TERMINATED,
    }
)

EDITABLE = frozenset({State.DRAFT, State.NEEDS_REVISIONS})
"""States in which experiments, runs and the final run may still change."""


class WrongState(Exception):
    """A command that the model's state does not allow.

    Parameters
    ----------
    state, command
        What was tried, and where.
    """

    def __init__(self, state: State, command: Command) -> None:
        self.state, self.command = state, command
        allowed = ", ".join(sorted(allowed_commands(state))) or "nothing"
        super().__init__(
            f"A model that is “{state}” cannot take the command “{command}”; it can take: {allowed}."
        )


def next_state(state: State, command: Command) -> State:
    """The state a command leads to.

    Raises
    ------
    WrongState
        If the table has no such step.
    """
    try:
        return TRANSITIONS[state, command]
    except KeyError:
        raise WrongState(state, command) from None


def allowed_commands(state: State) -> frozenset[Command]:
    """The commands the table knows for a state."""
    return frozenset(command for at, command in TRANSITIONS if at == state)
