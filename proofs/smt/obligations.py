"""The steps, and what is to be proved of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import agent
import measure
import proxy
from invariant import CLAUSES, initial, invariant
from model import *
from tables import Key, Tables
from z3 import ModelRef, Solver, sat, unsat


@dataclass(frozen=True)
class Step:
    build: Callable[[Scene], None]
    internal: bool = False  # the machines take it by themselves, so the measure must fall
    about_one: bool = True  # ... by what happens to the first exchange it names

    @property
    def name(self) -> str:
        return self.build.__name__


STEPS = [
    Step(proxy.submit),
    Step(proxy.write),
    Step(proxy.write_ready, internal=True),
    Step(proxy.cancel),
    Step(proxy.deadline),
    Step(proxy.begin_drain),
    Step(proxy.time_passes),
    Step(proxy.close),
    Step(proxy.end_of_stream, internal=True, about_one=False),
    Step(proxy.answer_found, internal=True),
    Step(proxy.answer_stray, internal=True),
    Step(proxy.answer_invented),
    Step(proxy.frame_swallowed),
    Step(proxy.signal_arrives, internal=True, about_one=False),
    Step(proxy.signal_by_hand),
    Step(proxy.capacity_announced),
    Step(proxy.backlog_reported),
    Step(agent.event_arrives, internal=True),
    Step(agent.cancel_arrives, internal=True),
    Step(agent.application_answers),
    Step(agent.handler_answers, internal=True),
    Step(agent.agent_closes),
    Step(agent.agent_notices, internal=True, about_one=False),
    Step(agent.transport_breaks),
    Step(agent.frames_are_lost),
]


def nothing(_: Scene) -> None:
    """No step: a question about a state."""


@dataclass(frozen=True)
class Obligation:
    property: str
    step: str
    name: str


class NotProved(Exception):
    def __init__(self, obligation: Obligation, why: str):
        super().__init__(
            f"NOT PROVED  {obligation.step} => {obligation.name}  [{obligation.property}]\n{why}"
        )
        self.obligation = obligation


def staged(build: Callable[[Scene], None], tables: Tables) -> Scene:
    """The step, with two exchanges of which nothing is known: a clause speaks of two at most."""
    scene = Scene(tables)
    build(scene)
    scene.a, scene.b = scene.exchange("a"), scene.exchange("b")
    s = scene.before
    scene.counts(s.in_flight, lambda x: on_wire(s, x))
    scene.counts(s.jobs, lambda x: has_job(s, x))
    return scene


def clauses(s: State, scene: Scene, step: str) -> Iterator[tuple[Obligation, BoolRef]]:
    for c in CLAUSES:
        goal = c.holds(s, *[scene.a, scene.b][: c.arity])
        for property_ in c.properties.split():
            yield Obligation(property_, step, c.name), goal


def claims(scene: Scene, step: str) -> Iterator[tuple[Obligation, BoolRef]]:
    for claim in scene.claims:
        yield Obligation(claim.property, step, claim.name), claim.holds


def goals(step: Step, scene: Scene) -> Iterator[tuple[Obligation, BoolRef]]:
    """Each claim of the step, each clause afterwards, the falling measure."""
    yield from claims(scene, step.name)
    yield from clauses(scene.after, scene, step.name)
    if step.internal:
        moved = scene.terms[0] if step.about_one else None
        falls = measure.falls(scene.before, scene.after, moved, scene.terms)
        yield Obligation("P1", step.name, "the measure falls"), falls


def explain(scene: Scene, model: ModelRef) -> str:
    """A counterexample: the exchanges that are spoken of, before and after."""

    def value(expr) -> str:
        return str(model.eval(expr, model_completion=True))

    rigid = [by_exchange_id, cancellation, hostile, manual, limit, low_mark, high_mark]
    lines = ["  " + ", ".join(f"{term} {value(term)}" for term in rigid)]
    # One term of each exchange, with all the names that it has in the counterexample.
    who: dict[str, list[ExprRef]] = {}
    for term in scene.terms:
        who.setdefault(value(term), []).append(term)
    for when, s in (("before", scene.before), ("after", scene.after)):
        plain = [f.name for f in fields(State) if not callable(getattr(s, f.name))]
        lines.append(f"  {when}: " + ", ".join(f"{name} {value(getattr(s, name))}" for name in plain))
        for names in who.values():
            term = names[0]
            known = ", ".join(f"{field} {value(getattr(s, field)(term))}" for field in KINDS)
            lines.append(f"    {' = '.join(map(str, names))} of {value(lane(term))}: {known}")
    return "\n".join(lines)


def prove(scene: Scene, hypotheses: list[BoolRef], goals) -> list[Obligation]:
    solver = Solver()
    solver.add(*scene.facts(), *hypotheses)
    proved, seen = [], set()
    for obligation, goal in goals:
        # A clause that serves several properties is proved once and counted for each.
        if goal.get_id() not in seen:
            seen.add(goal.get_id())
            solver.push()
            solver.add(Not(goal))
            result = solver.check()
            if result != unsat:
                raise NotProved(obligation, explain(scene, solver.model()) if result == sat else str(result))
            solver.pop()
        proved.append(obligation)
    return proved


def prove_start(tables: Tables) -> list[Obligation]:
    """A connection begins in a state of the invariant."""
    scene = staged(nothing, tables)
    begin = [initial(scene.before, x) for x in scene.terms]
    return prove(scene, begin, clauses(scene.before, scene, "start"))


def prove_step(step: Step, tables: Tables, without: str | None = None) -> list[Obligation]:
    """A step from a state of the invariant leads to one, and does what it claims."""
    scene = staged(step.build, tables)
    wanted = [(o, goal) for o, goal in goals(step, scene) if o.name != without]
    return prove(scene, invariant(scene.before, scene.terms, without), wanted)


def prove_rest(tables: Tables, without: str | None = None) -> list[Obligation]:
    """Where the machines have nothing to do any more, nothing is left."""
    scene = staged(measure.at_rest, tables)
    return prove(scene, invariant(scene.before, scene.terms, without), claims(scene, "at_rest"))


def prove_reasons(tables: Tables, without: str | None = None) -> list[Obligation]:
    scene = staged(proxy.shut_for_a_reason, tables)
    return prove(scene, [], claims(scene, "shut_for_a_reason"))


# This part asks the gates' tables for a certain value of each row. It says so much that the others
# should be asked first what they have to say against a change.
ROW_BY_ROW = "shut_for_a_reason"

PARTS: dict[str, Callable[..., list[Obligation]]] = {
    "start": lambda tables, without=None: prove_start(tables),
    "at_rest": prove_rest,
    **{
        step.name: (lambda tables, without=None, step=step: prove_step(step, tables, without))
        for step in STEPS
    },
    ROW_BY_ROW: prove_reasons,
}


def rows_read(part: str, tables: Tables) -> set[Key]:
    """The rows that a part of the proof is built from."""
    asked = Tables(tables.tables)
    build = {"start": nothing, "at_rest": measure.at_rest, "shut_for_a_reason": proxy.shut_for_a_reason} | {
        step.name: step.build for step in STEPS
    }
    staged(build[part], asked)
    return asked.read
