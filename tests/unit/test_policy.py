"""The permissions matrix, as the rows of the acceptance list have it."""

import itertools

import pytest

from a360_hub_service.policy import POLICY, Action, Role, Verdict, judge, may_review

ADMIN, SCIENTIST, ENGINEER = Role.CLIENT_ADMIN, Role.DATA_SCIENTIST, Role.ML_ENGINEER
EVERY_SET_OF_ROLES = [frozenset(some) for count in range(4) for some in itertools.combinations(Role, count)]

# Action -> roles that may. Written out by hand from the matrix, so that a slip in the table shows.
MATRIX = {
    "self:view": {ADMIN, SCIENTIST, ENGINEER, None},
    "users:list": {SCIENTIST, ENGINEER},
    "credentials:manage": {ADMIN},
    "volume-accounts:list": {SCIENTIST},
    "data-sources:list": {SCIENTIST},
    "data-source:connect": {SCIENTIST},
    "projects:list": {SCIENTIST, ENGINEER},
    "project:create": {SCIENTIST},
    "project:view": {SCIENTIST, ENGINEER},
    "project:edit": {SCIENTIST},
    "project:delete": {SCIENTIST},
    "data:view": {SCIENTIST},
    "data:edit": {SCIENTIST},
    "workspace:view": {SCIENTIST},
    "workspace:edit": {SCIENTIST},
    "model:view": {SCIENTIST, ENGINEER},
    "model:edit": {SCIENTIST},
    "model:submit": {SCIENTIST},
    "model:review": {SCIENTIST},
    "model:package": {SCIENTIST, ENGINEER},
    "model:publish": {SCIENTIST, ENGINEER},
    "waivers:list": {ADMIN, SCIENTIST, ENGINEER},
    "waivers:manage": {ADMIN},
    "job:cancel": {SCIENTIST, ENGINEER},
    "monitoring:view": {SCIENTIST, ENGINEER},
}


def test_the_matrix_is_complete() -> None:
    assert set(MATRIX) == {action.value for action in Action} == {action.value for action in POLICY}


@pytest.mark.row("C13", "F026", "F027", "F028", "F034", "F035", "F036", "F037", "F042")
@pytest.mark.row("F043", "F044", "F045", "F046", "F047")
@pytest.mark.parametrize("action", list(Action))
def test_each_role_may_what_the_matrix_says(action: Action) -> None:
    for role in (*Role, None):
        roles = frozenset({role} if role else ())
        expected = Verdict.ALLOWED if role in MATRIX[action] else Verdict.FORBIDDEN
        assert judge(action, roles, True) is expected


@pytest.mark.row("F022")
@pytest.mark.parametrize("roles", EVERY_SET_OF_ROLES)
def test_several_roles_add_up_and_never_take_away(roles: frozenset[Role]) -> None:
    for action in Action:
        single = [judge(action, frozenset({role}), True) is Verdict.ALLOWED for role in roles]
        nobody = judge(action, frozenset(), True) is Verdict.ALLOWED
        assert (judge(action, roles, True) is Verdict.ALLOWED) == (any(single) or nobody)


@pytest.mark.row("F028", "F029")
@pytest.mark.parametrize("roles", EVERY_SET_OF_ROLES)
def test_outsiders_learn_nothing_whatever_their_roles(roles: frozenset[Role]) -> None:
    for action, rule in POLICY.items():
        if rule.in_project:
            assert judge(action, roles, False) is Verdict.HIDDEN
            assert judge(action, roles, None) is Verdict.HIDDEN


@pytest.mark.row("C12")
def test_nobody_reviews_what_they_submitted() -> None:
    refusal = may_review(reviewer="ada", actor="ada", submitter="ada", self_review_allowed=False)
    assert refusal
    assert "somebody else" in refusal
    assert may_review(reviewer="ada", actor="ada", submitter="ada", self_review_allowed=True) is None


def test_only_the_chosen_reviewer_decides() -> None:
    assert may_review(reviewer="ben", actor="ben", submitter="ada", self_review_allowed=False) is None
    refusal = may_review(reviewer="ben", actor="cleo", submitter="ada", self_review_allowed=False)
    assert refusal
    assert "given to ben" in refusal
