"""That the proof says something: the steps can happen, whole stories can, and each clause is needed.

States here have a handful of exchanges and no others, so that what is counted is exactly what is there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import agent
import proxy
from invariant import CLAUSES, initial, invariant
from model import *
from obligations import PARTS, NotProved, nothing, staged
from tables import Tables
from z3 import Distinct, Solver, Sum, sat

Condition = Callable[[Scene, ExprRef], BoolRef]


@dataclass(frozen=True)
class Possible:
    property: str
    name: str
    step: Callable[[Scene], None]
    when: Condition  # of the scene and the first exchange that the step names


def was(stage) -> Condition:
    return lambda scene, x: scene.before.stage(x) == stage


def told_of(scene: Scene, x) -> BoolRef:
    return scene.after.told(x) > scene.before.told(x)


POSSIBLE = [
    Possible("P1", "an exchange is admitted", proxy.submit, lambda c, x: queued(c.after, x)),
    Possible("P1", "an event is written", proxy.write_ready, lambda c, x: c.after.event_sent(x)),
    Possible(
        "P2",
        "an event is written while another of its correlation id is unanswered, by exchange ids",
        proxy.write_ready,
        lambda c, x: And(c.after.event_sent(x), on_wire(c.before, c.terms[1]), lane(c.terms[1]) == lane(x)),
    ),
    Possible(
        "P4",
        "an event is written into the last place of the window",
        proxy.write_ready,
        lambda c, x: And(c.after.in_flight == window(c.after), window(c.after) < limit),
    ),
    Possible(
        "P4",
        "more is in flight than the window, which shrank",
        nothing,
        lambda c, x: c.before.in_flight > window(c.before),
    ),
    Possible("P1", "an event that waits is withdrawn", proxy.cancel, was(QUEUED)),
    Possible(
        "P6",
        "an event in flight is cancelled",
        proxy.cancel,
        lambda c, x: And(
            c.before.stage(x) == IN_FLIGHT, c.after.cancel_sent(x), Not(c.before.cancel_sent(x))
        ),
    ),
    Possible(
        "P6",
        "an event in flight is given up and the agent wants no Cancel",
        proxy.cancel,
        lambda c, x: And(
            c.before.stage(x) == IN_FLIGHT, c.after.stage(x) == ABANDONED, Not(c.after.cancel_sent(x))
        ),
    ),
    Possible(
        "P6",
        "a Cancel follows its event, which has not been read",
        proxy.cancel,
        lambda c, x: And(c.before.event_sent(x), c.after.cancel_sent(x)),
    ),
    Possible(
        "P6",
        "a Cancel crosses the answer",
        proxy.cancel,
        lambda c, x: And(c.before.answer_sent(x), c.after.cancel_sent(x)),
    ),
    Possible("P1", "a deadline passes before the event is written", proxy.deadline, was(QUEUED)),
    Possible("P1", "a deadline passes in flight", proxy.deadline, was(IN_FLIGHT)),
    Possible("P1", "a deadline passes for an exchange that was abandoned", proxy.deadline, was(ABANDONED)),
    Possible(
        "P2",
        "an answer ends its exchange",
        proxy.answer_found,
        lambda c, x: And(told_of(c, x), c.after.stage(x) == GONE, c.after.open),
    ),
    Possible(
        "P2",
        "a late answer comes while the next event of its correlation id waits",
        proxy.answer_found,
        lambda c, x: And(
            c.before.stage(x) == ABANDONED,
            c.after.stage(x) == GONE,
            queued(c.after, c.a),
            lane(c.a) == lane(x),
        ),
    ),
    Possible(
        "P2",
        "a late answer is one made up for a cancelled event",
        proxy.answer_found,
        lambda c, x: c.before.unseen(x),
    ),
    Possible(
        "P9",
        "the last answer ends a drain",
        proxy.answer_found,
        lambda c, x: And(c.before.draining, Not(c.after.open), told_of(c, x)),
    ),
    Possible(
        "P2",
        "an answer comes when the connection has closed",
        proxy.answer_stray,
        lambda c, x: Not(c.before.open),
    ),
    Possible(
        "P1", "an agent answers an event again that another waits behind", proxy.answer_invented, was(QUEUED)
    ),
    Possible("P1", "an agent invents an answer", proxy.answer_invented, lambda c, x: told_of(c, x)),
    Possible(
        "P9",
        "a drain refuses one and waits for another",
        proxy.begin_drain,
        lambda c, x: And(
            c.after.open, queued(c.before, c.a), c.after.stage(c.a) == GONE, on_wire(c.after, c.b)
        ),
    ),
    Possible(
        "P9",
        "a drain with nothing in flight ends at once",
        proxy.begin_drain,
        lambda c, x: And(Not(c.after.open), queued(c.before, c.a)),
    ),
    Possible(
        "P9",
        "a drain's deadline cancels what is in flight",
        proxy.time_passes,
        lambda c, x: And(
            c.before.draining, Not(c.after.open), c.after.cancel_sent(c.a), Not(c.before.cancel_sent(c.a))
        ),
    ),
    Possible(
        "P1",
        "closing ends one that waits, one in flight and one abandoned",
        proxy.close,
        lambda c, x: And(
            queued(c.before, c.a), c.before.stage(c.b) == IN_FLIGHT, c.before.stage(c.terms[0]) == ABANDONED
        ),
    ),
    Possible(
        "P1",
        "the agent is gone and the proxy sees the end",
        proxy.end_of_stream,
        lambda c, x: live(c.before, c.a),
    ),
    Possible(
        "P5",
        "a pause arrives",
        proxy.signal_arrives,
        lambda c, x: And(Not(c.before.paused), c.after.paused, Not(manual)),
    ),
    Possible(
        "P5",
        "a resume arrives and lets one go",
        proxy.signal_arrives,
        lambda c, x: And(c.before.paused, Not(c.after.paused), queued(c.after, c.a), Not(manual)),
    ),
    Possible(
        "P5",
        "one request is paused and another is not",
        proxy.signal_by_hand,
        lambda c, x: And(c.after.request_paused(lane(c.a)), Not(c.after.request_paused(lane(c.b)))),
    ),
    Possible(
        "P4", "a capacity of none is announced", proxy.capacity_announced, lambda c, x: window(c.after) == 0
    ),
    Possible("P4", "too many bytes wait for the socket", proxy.backlog_reported, lambda c, x: c.after.above),
    Possible("P1", "an event arrives and is handed out", agent.event_arrives, lambda c, x: c.after.handed(x)),
    Possible(
        "P1", "an event arrives and waits", agent.event_arrives, lambda c, x: c.after.work(x) == WAITING
    ),
    Possible(
        "P5",
        "an arrival makes the agent pause",
        agent.event_arrives,
        lambda c, x: And(c.after.pausing, Not(c.before.pausing)),
    ),
    Possible(
        "P6",
        "an event is cancelled before its turn",
        agent.cancel_arrives,
        lambda c, x: c.after.work(x) == SKIPPED,
    ),
    Possible("P6", "a handler is told", agent.cancel_arrives, lambda c, x: c.after.work(x) == TOLD),
    Possible(
        "P6", "a Cancel comes after the answer", agent.cancel_arrives, lambda c, x: c.before.work(x) == DONE
    ),
    Possible(
        "P6",
        "a Cancel comes after the answer, with the next event of its correlation id behind it",
        agent.cancel_arrives,
        lambda c, x: And(
            c.before.work(x) == DONE, c.before.event_sent(c.a), lane(c.a) == lane(x), Not(by_exchange_id)
        ),
    ),
    Possible(
        "P2", "a cancelled event is answered unseen", agent.cancel_arrives, lambda c, x: c.after.unseen(x)
    ),
    Possible("P1", "a handler answers", agent.handler_answers, lambda c, x: c.after.answer_sent(x)),
    Possible(
        "P5",
        "an answer makes the agent resume",
        agent.handler_answers,
        lambda c, x: And(c.before.pausing, Not(c.after.pausing)),
    ),
    Possible(
        "P1",
        "the application answers what it was not given",
        agent.application_answers,
        lambda c, x: c.before.work(x) == WAITING,
    ),
    Possible(
        "P1",
        "the agent closes with an event at hand",
        agent.agent_closes,
        lambda c, x: has_job(c.before, c.a),
    ),
    Possible(
        "P1",
        "the transport breaks with an event on its way",
        agent.transport_breaks,
        lambda c, x: c.before.event_sent(c.a),
    ),
    Possible(
        "P1",
        "an answer is lost",
        agent.frames_are_lost,
        lambda c, x: And(c.before.answer_sent(c.a), Not(c.after.answer_sent(c.a)), live(c.after, c.a)),
    ),
    Possible(
        "P1",
        "an agent that keeps to nothing swallows an event",
        proxy.frame_swallowed,
        lambda c, x: And(c.before.event_sent(c.a), Not(c.after.event_sent(c.a))),
    ),
]


def confine(scene: Scene, size: int) -> list[ExprRef]:
    """As many exchanges as said, and none else."""
    all_of_them = [Const(f"exchange_{i}", Exchange) for i in range(size)]
    scene.assume(Distinct(*all_of_them))
    for term in scene.terms:
        scene.assume(Or(*[term == x for x in all_of_them]))
    scene.terms = [*scene.terms, *all_of_them]
    for s in (scene.before, scene.after):
        scene.assume(s.in_flight == Sum(*[one_if(on_wire(s, x)) for x in all_of_them]))
        scene.assume(s.jobs == Sum(*[one_if(has_job(s, x)) for x in all_of_them]))
    return all_of_them


def is_possible(possible: Possible, tables: Tables) -> bool:
    scene = staged(possible.step, tables)
    condition = possible.when(scene, scene.terms[0])
    confine(scene, 4)
    solver = Solver()
    solver.add(condition, *scene.facts(), *invariant(scene.before, scene.terms))
    return solver.check() == sat


# From the beginning of a connection to the end of an exchange, one step after the other. A step is about the
# exchange whose number stands beside it; steps that are about none have None.
Story = list[tuple[Callable[[Scene], None], int | None]]
STORIES: dict[str, tuple[str, Story, Callable[[State, list[ExprRef]], BoolRef]]] = {
    "asked and answered": (
        "P1",
        [
            (proxy.submit, 0),
            (proxy.write_ready, 0),
            (agent.event_arrives, 0),
            (agent.handler_answers, 0),
            (proxy.answer_found, 0),
        ],
        lambda s, x: And(s.open, s.stage(x[0]) == GONE, s.told(x[0]) == 1, s.in_flight == 0, s.handed(x[0])),
    ),
    "a late answer, and the next event of its correlation id only behind it": (
        "P2",
        [
            (proxy.submit, 0),
            (proxy.submit, 1),
            (proxy.write_ready, 0),
            (proxy.deadline, 0),
            (agent.event_arrives, 0),
        ]
        + [
            (agent.handler_answers, 0),
            (proxy.answer_found, 0),
            (proxy.write_ready, 1),
            (agent.cancel_arrives, 0),
        ]
        + [(agent.event_arrives, 1), (agent.handler_answers, 1), (proxy.answer_found, 1)],
        lambda s, x: And(
            lane(x[0]) == lane(x[1]), Not(by_exchange_id), s.open, s.told(x[0]) == 1, s.told(x[1]) == 1
        ),
    ),
    "cancelled before its turn, and answered unseen": (
        "P6",
        [
            (proxy.submit, 0),
            (proxy.write_ready, 0),
            (proxy.cancel, 0),
            (agent.event_arrives, 0),
            (agent.cancel_arrives, 0),
        ]
        + [(proxy.answer_found, 0)],
        lambda s, x: And(
            s.open, s.unseen(x[0]), s.stage(x[0]) == GONE, s.told(x[0]) == 1, s.cancels(x[0]) == 1
        ),
    ),
    "paused, resumed, and what waited flows": (
        "P5",
        [
            (proxy.submit, 0),
            (proxy.write_ready, 0),
            (agent.event_arrives, 0),
            (proxy.signal_arrives, None),
            (proxy.submit, 1),
        ]
        + [
            (agent.handler_answers, 0),
            (proxy.signal_arrives, None),
            (proxy.answer_found, 0),
            (proxy.write_ready, 1),
        ],
        lambda s, x: And(Not(manual), high_mark == 1, low_mark == 0, s.event_sent(x[1])),
    ),
    "drained": (
        "P9",
        [
            (proxy.submit, 0),
            (proxy.submit, 1),
            (proxy.write_ready, 0),
            (proxy.begin_drain, None),
            (agent.event_arrives, 0),
        ]
        + [(agent.handler_answers, 0), (proxy.answer_found, 0)],
        lambda s, x: And(Not(s.open), s.told(x[0]) == 1, s.told(x[1]) == 1, s.events(x[1]) == 0),
    ),
}


def copy_of(s: State, number: int, exchanges: list[ExprRef]) -> tuple[State, list[BoolRef]]:
    """The same state under names of its own."""
    named, same = {}, []
    for field in fields(State):
        old = getattr(s, field.name)
        name = f"{field.name}@{number}"
        if field.name == "request_paused":
            named[field.name] = Function(name, Id, BoolSort())
            same += [named[field.name](lane(x)) == old(lane(x)) for x in exchanges]
        elif callable(old):
            named[field.name] = Function(name, Exchange, KINDS[field.name])
            same += [named[field.name](x) == old(x) for x in exchanges]
        else:
            named[field.name] = Int(name) if field.name in NUMBERS else Bool(name)
            same.append(named[field.name] == old)
    return State(**named), same


def can_be_told(story: Story, ends: Callable[[State, list[ExprRef]], BoolRef], tables: Tables) -> bool:
    exchanges = [Const(f"exchange_{i}", Exchange) for i in range(2)]
    solver = Solver()
    state = BEFORE
    solver.add(*[initial(state, x) for x in exchanges])
    for number, (step, about) in enumerate(story):
        scene = Scene(tables, state, number)
        step(scene)
        if about is not None:
            scene.assume(scene.terms[0] == exchanges[about])
        confine(scene, 2)
        state, same = copy_of(scene.after, number, exchanges)
        solver.add(*scene.facts(), *same)
    solver.add(ends(state, exchanges))
    return solver.check() == sat


def needed_by(clause: str, tables: Tables) -> str | None:
    """Who can no longer be proved without the clause."""
    for part in PARTS:
        try:
            PARTS[part](tables, clause)
        except NotProved as failure:
            return f"{failure.obligation.step} => {failure.obligation.name}"
    return None


# These clauses are what we wanted to know; no other step of the proof rests on them.
ENDS_IN_THEMSELVES = {
    "closed_is_empty",
    "cancel_behind_its_event",
    "in_flight_within_limit",
    "draining_has_no_queue",
}


def examine(tables: Tables, verbose: bool) -> Iterator[tuple[str, bool]]:
    """By property, whether each check says what it should."""

    def report(ok: bool, text: str) -> bool:
        if verbose or not ok:
            print(f"{'ok ' if ok else 'BAD'} {text}")
        return ok

    for possible in POSSIBLE:
        yield possible.property, report(is_possible(possible, tables), f"possible: {possible.name}")
    for name, (property_, story, ends) in STORIES.items():
        yield property_, report(can_be_told(story, ends, tables), f"story: {name}")
    for c in CLAUSES:
        needed = needed_by(c.name, tables)
        ok = (needed is None) == (c.name in ENDS_IN_THEMSELVES)
        yield c.properties.split()[0], report(ok, f"without {c.name}: {needed or 'all the rest is proved'}")
