"""That nothing is left for ever.

Every step that the two machines and their drivers take by themselves (write what may be written,
deliver what is on its way, answer what was handed out) lowers a measure: first the ends that are
open, then the sum of a rank over all exchanges, of which finitely many were ever admitted, then the
signals on their way. So they come to rest, once the callers do. And where they are at rest, nothing
is left: that is proved of the state itself in `at_rest`.
"""

from model import *
from proxy import gate_open, lane_open
from tables import INBOX


def rank(s: State, x) -> ExprRef:
    """How far an exchange is from its end, at most."""
    waits = If(queued(s, x), 9, 0)
    event = If(s.event_sent(x), 6, 0)
    cancel = If(s.cancel_sent(x), 1, 0)
    job = If(
        s.work(x) == WAITING,
        5,
        If(Or(s.work(x) == SKIPPED, s.work(x) == RUNNING), 4, If(s.work(x) == TOLD, 3, 0)),
    )
    answer = If(s.answer_sent(x), 2, 0)
    return waits + event + cancel + job + answer


def falls(before: State, after: State, moved, terms) -> BoolRef:
    """The measure after is lower than before. The step is about the exchange `moved`, if about any:
    then the sum of ranks falls if its rank does and no other rises."""

    def ends(s: State):
        return one_if(s.open) + one_if(s.alive)

    none_rises = And(*[rank(after, x) <= rank(before, x) for x in terms])
    if moved is None:
        lower = And(none_rises, after.signals < before.signals)
    else:
        lower = And(none_rises, rank(after, moved) < rank(before, moved))
    return Or(ends(after) < ends(before), And(ends(after) == ends(before), lower))


def at_rest(scene: Scene) -> None:
    """No step is left that the machines take by themselves, both are open and the transport is
    whole (if one is not, the others notice: `end_of_stream`, `agent_notices`). The agent is ours, its
    signals are its machine's, the proxy's socket takes bytes, and the window has room for one."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.open, s.alive, s.whole, Not(hostile), Not(manual), Not(s.above), window(s) >= 1)
    scene.counts(s.in_flight, lambda y: on_wire(s, y))
    scene.counts(s.jobs, lambda y: has_job(s, y))
    # Nothing is on its way.
    scene.assume(s.signals == 0)
    scene.assume_for_all(lambda y: Not(Or(s.event_sent(y), s.cancel_sent(y), s.answer_sent(y))))
    # The application has answered what it has.
    scene.assume_for_all(lambda y: Not(And(has_job(s, y), s.handed(y))))
    # Nothing has its turn. A list that is not empty has a front; where the running ones fill their
    # places, of which there is at least one, one runs.
    front, runs = scene.exchange("front"), scene.exchange("runs")
    full = scene.flag("full")
    turn = {work: scene.tables.ask(INBOX, work, "Turn") for work in WORKS}
    scene.assume(Implies(has_job(s, x), And(has_job(s, front), lane(front) == lane(x))))
    scene.assume(Implies(full, Or(s.work(runs) == RUNNING, s.work(runs) == TOLD)))
    for work, step in turn.items():
        if step == "AnswerUnseen":
            scene.assume(s.work(front) != WORKS[work])
        elif step == "Deliver":
            scene.assume(Implies(Not(full), s.work(front) != WORKS[work]))
    # Nothing may be written: not the front of the queue of any correlation id.
    head, unanswered, other = scene.exchange("head"), scene.flag("unanswered"), scene.exchange("other")
    scene.assume(Implies(queued(s, x), And(queued(s, head), lane(head) == lane(x))))
    scene.assume(Implies(unanswered, And(on_wire(s, other), lane(other) == lane(head))))
    ready = And(queued(s, head), gate_open(scene.tables, s), lane_open(scene.tables, s, head, unanswered))
    scene.assume(Not(ready))
    # A number above zero counts somebody.
    counted, working = scene.exchange("counted"), scene.exchange("working")
    scene.assume(Implies(s.in_flight >= 1, on_wire(s, counted)))
    scene.assume(Implies(s.jobs >= 1, has_job(s, working)))
    # The list in which that one waits for its turn has a front as well.
    second = scene.exchange("second")
    scene.assume(Implies(has_job(s, working), And(has_job(s, second), lane(second) == lane(working))))
    for work, step in turn.items():
        if step == "AnswerUnseen":
            scene.assume(s.work(second) != WORKS[work])
        elif step == "Deliver":
            scene.assume(Implies(Not(full), s.work(second) != WORKS[work]))
    scene.claim(
        "P1",
        "at rest every admitted exchange has ended",
        Or(s.stage(x) == NEW, And(s.stage(x) == GONE, s.told(x) == 1)),
    )
    scene.claim("P4", "at rest no slot is held", s.in_flight == 0)
    scene.claim("P5", "at rest nothing is paused", Not(s.paused))
    scene.claim("P9", "at rest no drain goes on", Not(s.draining))
