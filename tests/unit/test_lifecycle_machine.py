"""Whatever people do in whatever order, nothing is published that nobody else approved."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from a360_hub_service.database import Database
from a360_hub_service.entities import Experiment, Model, ModelEvent
from a360_hub_service.errors import A360Error
from a360_hub_service.lifecycle import EDITABLE, TRANSITIONS, Command, State, WrongState, allowed_commands
from a360_hub_service.policy import Action, Verdict, judge
from a360_hub_service.services import experiments, models, reviews
from a360_hub_service.services.context import Actor, Settings
from tests.support import catalogue

CAST = {
    actor.name: actor
    for actor in (
        catalogue.person("ada", "Data Scientists"),
        catalogue.person("ben", "Data Scientists"),
        catalogue.person("cleo", "Data Scientists", "ML Engineers"),
        catalogue.person("eve", "ML Engineers"),
        catalogue.person("root", "Administrator"),
        catalogue.person("olaf", "Data Scientists"),
    )
}
MEMBERS = ("ada", "ben", "cleo", "eve", "root")
SETTINGS = Settings(home=Path("unused"))
APPROVED = frozenset(State) - EDITABLE - {State.IN_REVIEW, State.TERMINATED}
ACTIONS = {
    Command.PACKAGE: Action.MODEL_PACKAGE,
    Command.PUBLISH: Action.MODEL_PUBLISH,
    Command.WITHDRAW: Action.MODEL_PUBLISH,
}
OUTCOMES = (
    Command.PACKAGE_SUCCEEDED,
    Command.PACKAGE_FAILED,
    Command.PUBLISH_SUCCEEDED,
    Command.PUBLISH_FAILED,
)
JOBS = frozenset({*ACTIONS, *OUTCOMES})
people = st.sampled_from(sorted(CAST))
seen: set[State] = set()


@dataclass
class Approval:
    """What the test remembers of an approval, by itself."""

    by: str
    submitted_by: str
    run_id: str


class ModelLife(RuleBasedStateMachine):
    """One model, and people who try everything."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.state = State.DRAFT
        self.submitter: str | None = None
        self.approval: Approval | None = None
        ada = CAST["ada"]
        with self.database.session() as session:
            catalogue.add_groups(session)
            model = catalogue.add_model(session, catalogue.add_project(session, *MEMBERS), ada)
            experiment = catalogue.add_experiment(session, model, ada)
            self.runs = [catalogue.add_run(session, experiment, ada).id for _ in range(2)]
            self.runs.append(catalogue.add_run(session, experiment, ada, status="failed").id)
            self.runs.append(catalogue.add_run(session, experiment, ada, saved=False).id)
            self.final: str | None = None
            self.model_id, self.experiment_id = model.id, experiment.id

    def attempt(self, name: str, action: Action, work: Callable[[Session, Model, Actor], object]) -> bool:
        """As a route does it: the policy first, then the use case, then the commit; or none of it."""
        actor = CAST[name]
        if judge(action, actor.roles, name in MEMBERS) is not Verdict.ALLOWED:
            return False
        try:
            with self.database.session() as session:
                work(session, session.get_one(Model, self.model_id), actor)
        except (A360Error, WrongState):
            return False
        return True

    def give(
        self, name: str, action: Action, command: Command, work: Callable[[Session, Model, Actor], object]
    ) -> bool:
        """A command; if it went through, the table must have it."""
        if not self.attempt(name, action, work):
            return False
        self.state = TRANSITIONS[self.state, command]
        seen.add(self.state)
        return True

    @initialize(steps=st.integers(0, 6), succeeds=st.booleans())
    def start_somewhere_on_the_way(self, steps: int, succeeds: bool) -> None:
        """Most of what could go wrong lies far from Draft."""
        way: list[Callable[[], None]] = [
            lambda: self.somebody_asks_properly(0, ["ada", "ben", "cleo"]),
            lambda: self.the_reviewer_decides(True),
            *(lambda choice=choice: self.work_goes_on("eve", choice) for choice in (0, 1, 1, 1)),
        ]
        for step in way[:steps]:
            step()
        if not succeeds and self.state in (State.PACKAGING, State.PUBLISHING):
            self.work_goes_on("eve", 0)

    @rule(name=people, reviewer=people)
    def submit(self, name: str, reviewer: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            reviews.submit(session, SETTINGS, actor, model, reviewer, CAST[reviewer].groups)

        if self.give(name, Action.MODEL_SUBMIT, Command.SUBMIT, work):
            assert reviewer in ("ada", "ben", "cleo")
            assert reviewer != name
            assert self.final
            self.submitter, self.approval = name, None

    @rule(name=people)
    def approve(self, name: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            reviews.approve(session, SETTINGS, actor, model, "")

        if self.give(name, Action.MODEL_REVIEW, Command.APPROVE, work):
            assert self.submitter
            assert self.final
            self.approval = Approval(name, self.submitter, self.final)

    @rule(name=people, comment=st.sampled_from(["", "  ", "More data"]))
    def deny(self, name: str, comment: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            reviews.deny(session, SETTINGS, actor, model, comment)

        if self.give(name, Action.MODEL_REVIEW, Command.DENY, work):
            assert comment.strip()

    @rule(name=people)
    def revise(self, name: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            reviews.revise(session, actor, model)

        if self.give(name, Action.MODEL_SUBMIT, Command.REVISE, work):
            self.submitter = self.approval = None

    @rule(name=people, run=st.integers(0, 3))
    def choose_final_run(self, name: str, run: int) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            models.set_final_run(session, actor, model, self.experiment_id, self.runs[run])

        if self.attempt(name, Action.MODEL_EDIT, work):
            assert self.state in EDITABLE
            assert run < 2, "a run that failed or saved nothing became final"
            self.final = self.runs[run]

    @rule(name=people)
    def begin_a_run(self, name: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            catalogue.add_run(session, session.get_one(Experiment, self.experiment_id), actor)

        assert not self.attempt(name, Action.MODEL_EDIT, work) or self.state in EDITABLE

    @rule(name=people)
    def change_the_experiment(self, name: str) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            experiment = session.get_one(Experiment, self.experiment_id)
            experiments.edit(session, experiment, {"model_training_file": f"{name}.ipynb"})

        assert not self.attempt(name, Action.MODEL_EDIT, work) or self.state in EDITABLE

    @rule(name=people, command=st.sampled_from(sorted(ACTIONS)))
    def order_a_job(self, name: str, command: Command) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            models.transition(session, model, command, actor.name)

        self.give(name, ACTIONS[command], command, work)

    @rule(command=st.sampled_from(OUTCOMES))
    def a_job_reports(self, command: Command) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            models.transition(session, model, command, actor.name)

        self.give("ada", Action.MODEL_VIEW, command, work)

    @precondition(lambda self: self.state in EDITABLE)
    @rule(run=st.integers(0, 1), names=st.permutations(["ada", "ben", "cleo"]))
    def somebody_asks_properly(self, run: int, names: list[str]) -> None:
        self.choose_final_run(names[2], run)
        self.submit(names[0], names[1])
        assert self.state is State.IN_REVIEW

    @precondition(lambda self: self.state is State.IN_REVIEW)
    @rule(content=st.booleans())
    def the_reviewer_decides(self, content: bool) -> None:
        with self.database.session(write=False) as session:
            reviewer = session.get_one(Model, self.model_id).reviewer
        assert reviewer
        if content:
            self.approve(reviewer)
        else:
            self.deny(reviewer, "More data")
        assert self.state is not State.IN_REVIEW

    @precondition(lambda self: JOBS & allowed_commands(self.state))
    @rule(name=st.sampled_from(["ada", "cleo", "eve"]), choice=st.integers(0, 3))
    def work_goes_on(self, name: str, choice: int) -> None:
        commands = sorted(JOBS & allowed_commands(self.state))
        command = commands[choice % len(commands)]
        before = self.state
        if command in ACTIONS:
            self.order_a_job(name, command)
        else:
            self.a_job_reports(command)
        assert self.state is TRANSITIONS[before, command]

    @rule(name=people, really=st.integers(0, 9))
    def terminate(self, name: str, really: int) -> None:
        def work(session: Session, model: Model, actor: Actor) -> None:
            reviews.terminate(session, actor, model)

        if really == 7:
            self.give(name, Action.MODEL_EDIT, Command.TERMINATE, work)

    @invariant()
    def the_database_follows_the_table(self) -> None:
        with self.database.session(write=False) as session:
            model = session.get_one(Model, self.model_id)
            assert model.status == self.state
            assert model.best_run_id == self.final
            if self.state in APPROVED:
                assert self.approval, "approved by nobody"
                assert self.approval.by != self.approval.submitted_by
                assert self.approval.run_id == model.best_run_id, "another run than the approved one"
                assert (model.approved_by, model.submitted_by) == (
                    self.approval.by,
                    self.approval.submitted_by,
                )

    def teardown(self) -> None:
        """The history alone tells the same story."""
        with self.database.session(write=False) as session:
            of_model = select(ModelEvent).where(ModelEvent.model_id == self.model_id)
            check_history(list(session.scalars(of_model.order_by(ModelEvent.id))))


def check_history(events: list[ModelEvent]) -> None:
    """Replay a history against the table; what was approved, another than the submitter approved."""
    state, submitter, approver = State.DRAFT, "", ""
    for event in events:
        assert event.from_status == state
        if event.command not in set(Command):
            assert event.to_status == state
            continue
        state = TRANSITIONS[state, Command(event.command)]
        assert event.to_status == state
        if event.command == Command.SUBMIT:
            submitter, approver = event.actor, ""
        elif event.command == Command.REVISE:
            submitter = approver = ""
        elif event.command == Command.APPROVE:
            approver = event.actor
        if state in APPROVED:
            assert approver
            assert approver != submitter


@pytest.mark.row("C12", "F043", "F251", "F253", "F254", "F255", "F258", "F259", "F272", "F276", "F285")
def test_nothing_is_published_that_nobody_else_approved(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/a360.sqlite")
    database.upgrade()
    ModelLife.database = database
    seen.clear()
    limits = settings(
        max_examples=60, stateful_step_count=60, deadline=None, suppress_health_check=list(HealthCheck)
    )
    far = {State.NEEDS_REVISIONS, State.PUBLISHED}
    try:
        # Chance may keep sixty lives from getting far; then some more are lived.
        for _ in range(5):
            run_state_machine_as_test(ModelLife, settings=limits)
            if far <= seen:
                break
    finally:
        database.close()
    assert far <= seen, "the machine did not get far"
