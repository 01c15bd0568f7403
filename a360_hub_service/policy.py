"""The permissions matrix (rows F026 to F047, rulings C12 and C13) as one table.

This is the only place that answers “may they?”. An action is either global (nothing but roles counts) or
lives in a project; then the caller must belong to it, and who does not is told that there is no such thing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What a group may reach and do."""

    CLIENT_ADMIN = "client_admin"
    DATA_SCIENTIST = "data_scientist"
    ML_ENGINEER = "ml_engineer"


class Action(StrEnum):
    """Everything a route can ask permission for."""

    SELF_VIEW = "self:view"
    USERS_LIST = "users:list"
    CREDENTIALS_MANAGE = "credentials:manage"
    VOLUME_ACCOUNTS_LIST = "volume-accounts:list"
    DATA_SOURCES_LIST = "data-sources:list"
    DATA_SOURCE_CONNECT = "data-source:connect"
    PROJECTS_LIST = "projects:list"
    PROJECT_CREATE = "project:create"
    PROJECT_VIEW = "project:view"
    PROJECT_EDIT = "project:edit"
    PROJECT_DELETE = "project:delete"
    DATA_VIEW = "data:view"
    DATA_EDIT = "data:edit"
    WORKSPACE_VIEW = "workspace:view"
    WORKSPACE_EDIT = "workspace:edit"
    MODEL_VIEW = "model:view"
    MODEL_EDIT = "model:edit"
    MODEL_SUBMIT = "model:submit"
    MODEL_REVIEW = "model:review"
    MODEL_PACKAGE = "model:package"
    MODEL_PUBLISH = "model:publish"
    WAIVERS_LIST = "waivers:list"
    WAIVERS_MANAGE = "waivers:manage"
    JOB_CANCEL = "job:cancel"
    MONITORING_VIEW = "monitoring:view"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may: any of ``roles`` (everybody signed in when empty), and members only if ``in_project``."""

    roles: frozenset[Role]
    in_project: bool = False


_ADMIN = frozenset({Role.CLIENT_ADMIN})
_DS = frozenset({Role.DATA_SCIENTIST})
_TEAM = frozenset({Role.DATA_SCIENTIST, Role.ML_ENGINEER})

POLICY: Mapping[Action, Rule] = MappingProxyType(
    {
        Action.SELF_VIEW: Rule(frozenset()),
        Action.USERS_LIST: Rule(_TEAM),
        Action.CREDENTIALS_MANAGE: Rule(_ADMIN),
        Action.VOLUME_ACCOUNTS_LIST: Rule(_DS),
        Action.DATA_SOURCES_LIST: Rule(_DS),
        Action.DATA_SOURCE_CONNECT: Rule(_DS),
        Action.PROJECTS_LIST: Rule(_TEAM),
        Action.PROJECT_CREATE: Rule(_DS),
        Action.PROJECT_VIEW: Rule(_TEAM, in_project=True),
        Action.PROJECT_EDIT: Rule(_DS, in_project=True),
        Action.PROJECT_DELETE: Rule(_DS, in_project=True),
        Action.DATA_VIEW: Rule(_DS, in_project=True),
        Action.DATA_EDIT: Rule(_DS, in_project=True),
        Action.WORKSPACE_VIEW: Rule(_DS, in_project=True),
        Action.WORKSPACE_EDIT: Rule(_DS, in_project=True),
        Action.MODEL_VIEW: Rule(_TEAM, in_project=True),
        Action.MODEL_EDIT: Rule(_DS, in_project=True),
        Action.MODEL_SUBMIT: Rule(_DS, in_project=True),
        Action.MODEL_REVIEW: Rule(_DS, in_project=True),
        Action.MODEL_PACKAGE: Rule(_TEAM, in_project=True),
        Action.MODEL_PUBLISH: Rule(_TEAM, in_project=True),
        Action.WAIVERS_LIST: Rule(frozenset(Role)),
        Action.WAIVERS_MANAGE: Rule(_ADMIN),
        Action.JOB_CANCEL: Rule(_TEAM, in_project=True),
        Action.MONITORING_VIEW: Rule(_TEAM, in_project=True),
    }
)


class Verdict(StrEnum):
    """Yes; no; or: for you there is no such thing."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    HIDDEN = "hidden"


def judge(action: Action, roles: frozenset[Role], member: bool | None) -> Verdict:
    """Say whether somebody may do something.

    Parameters
    ----------
    action
        What is asked.
    roles
        The roles the caller's groups give.
    member
        Whether the caller belongs to the project concerned; ``None`` where no project is concerned.

    Notes
    -----
    Outsiders get :attr:`Verdict.HIDDEN` before their role is looked at, so the answer does not tell
    whether a thing exists.
    """
    rule = POLICY[action]
    if rule.in_project and not member:
        return Verdict.HIDDEN
    if rule.roles and not rule.roles & roles:
        return Verdict.FORBIDDEN
    return Verdict.ALLOWED


def may_review(
    *, reviewer: str | None, actor: str, submitter: str | None, self_review_allowed: bool
) -> str | None:
    """Why this person may not decide this review, or ``None`` if they may.

    The chosen reviewer decides, and nobody their own model (C12) unless the operator allowed that.
    """
    if actor == submitter and not self_review_allowed:
        return "You submitted this model; somebody else has to review it."
    if actor != reviewer:
        return f"This review was given to {reviewer}; ask them, or have the model submitted to you."
    return None
