"""The invariant: what holds in every state that can be reached, clause by clause.

`proofs/src/invariant.rs` has the same clauses, under the same names, for the states that the explorer
reaches with the real machines.
"""

from collections.abc import Callable
from dataclasses import dataclass

from model import *


@dataclass(frozen=True)
class Clause:
    name: str
    properties: str
    english: str
    arity: int  # of how many exchanges it speaks
    holds: Callable[..., BoolRef]


CLAUSES: list[Clause] = []


def clause(properties: str, english: str):
    def register(holds):
        arity = holds.__code__.co_argcount - 1
        CLAUSES.append(Clause(holds.__name__, properties, english, arity, once(holds)))
        return holds

    return register


def owed(s: State, x) -> BoolRef:
    """The event of `x` is on its way, at the agent, or its answer is on its way."""
    return Or(s.event_sent(x), has_job(s, x), s.answer_sent(x))


@clause("P1 P6", "Of an exchange that was not admitted nothing was told, written, or received.")
def nothing_before_admission(s, x):
    return Implies(s.stage(x) == NEW, untouched(s, x))


@clause("P1 P6", "Of an event that waits nothing was told, written, or received: no Cancel either.")
def nothing_of_what_waits(s, x):
    return Implies(queued(s, x), untouched(s, x))


@once
def untouched(s, x):
    return And(
        *[s.told(x) == 0, s.events(x) == 0, s.cancels(x) == 0, Not(s.event_sent(x)), Not(s.cancel_sent(x))],
        *[s.work(x) == ABSENT, Not(s.answer_sent(x)), Not(s.handed(x)), Not(s.unseen(x))],
    )


@clause(
    "P1 P6", "An exchange in flight: its event was written once, its caller told nothing, no Cancel written."
)
def in_flight_is_open(s, x):
    return Implies(s.stage(x) == IN_FLIGHT, And(s.events(x) == 1, s.told(x) == 0, s.cancels(x) == 0))


@clause("P1 P6", "An abandoned one: written once, told once, cancelled once if the agent wants Cancels.")
def abandoned_is_settled(s, x):
    settled = And(s.events(x) == 1, s.told(x) == 1, s.cancels(x) == one_if(cancellation))
    return Implies(s.stage(x) == ABANDONED, settled)


@clause("P1", "An exchange that is gone was told of exactly once.")
def gone_is_told_once(s, x):
    return Implies(s.stage(x) == GONE, And(s.told(x) == 1, s.events(x) >= 0, s.events(x) <= 1))


@clause("P1", "When the connection has closed, nothing waits and nothing is in flight.")
def closed_is_empty(s, x):
    return Implies(Not(s.open), Not(live(s, x)))


@clause(
    "P6",
    "At most one Cancel per exchange, and only where its event was written and its caller told.",
)
def one_cancel(s, x):
    cancelled = And(s.cancels(x) == 1, cancellation, s.events(x) == 1, s.told(x) == 1)
    return And(Or(s.cancels(x) == 0, cancelled), Implies(s.cancel_sent(x), s.cancels(x) == 1))


@clause("P6", "A Cancel never overtakes its event.")
def cancel_behind_its_event(s, x):
    return Implies(And(s.event_sent(x), s.cancel_sent(x)), s.event_stamp(x) < s.cancel_stamp(x))


@clause("P6", "What was written before has a smaller stamp than what will be.")
def stamps_are_past(s, x):
    return And(
        Implies(s.event_sent(x), And(s.event_stamp(x) < s.clock, s.events(x) == 1)),
        Implies(s.cancel_sent(x), s.cancel_stamp(x) < s.clock),
    )


@clause(
    "P2", "Where answers name only the correlation id, one unanswered event of it is on the wire at most."
)
def one_at_a_time(s, x, y):
    both = And(on_wire(s, x), on_wire(s, y))
    return Implies(And(x != y, lane(x) == lane(y), Not(by_exchange_id)), Not(both))


@clause("P2 P4", "What an agent owes or has answered holds its slot, as long as the connection is open.")
def owed_has_its_slot(s, x):
    return Implies(And(s.open, Not(hostile), owed(s, x)), on_wire(s, x))


@clause("P4", "A slot is held only while its answer is owed: none leaks.")
def slot_is_owed(s, x):
    return Implies(And(s.open, s.alive, s.whole, Not(hostile), on_wire(s, x)), owed(s, x))


@clause("P2", "An event is in one place: on its way, at the agent, or answered.")
def in_one_place(s, x):
    return And(
        Implies(s.event_sent(x), s.work(x) == ABSENT),
        Implies(s.answer_sent(x), s.work(x) == DONE),
        Implies(s.work(x) != ABSENT, s.events(x) == 1),
    )


@clause("P6", "Where a Cancel names only the correlation id, the next event of it is behind the Cancel.")
def cancel_before_the_next_event(s, x, y):
    together = And(s.cancel_sent(x), s.event_sent(y), Not(by_exchange_id), Not(hostile))
    return Implies(And(x != y, lane(x) == lane(y), together), s.cancel_stamp(x) < s.event_stamp(y))


@clause("P6", "... and finds no event of it at the agent but its own.")
def cancel_finds_its_own(s, x, y):
    together = And(s.cancel_sent(x), has_job(s, y), Not(by_exchange_id), Not(hostile))
    return Implies(And(x != y, lane(x) == lane(y)), Not(together))


@clause("P2 P6", "What is skipped, told or answered unseen at the agent is what nobody waits for.")
def spared_is_unwanted(s, x):
    spared = Or(s.work(x) == SKIPPED, s.work(x) == TOLD, s.unseen(x))
    return Implies(spared, s.told(x) == 1)


@clause("P1 P2", "The application has exactly the events that run, and those it answered.")
def handed_is_running(s, x):
    running = Or(s.work(x) == RUNNING, s.work(x) == TOLD)
    idle = Or(s.work(x) == ABSENT, s.work(x) == WAITING, s.work(x) == SKIPPED)
    return And(
        Implies(running, s.handed(x)),
        Implies(idle, Not(s.handed(x))),
        Implies(s.work(x) == DONE, s.handed(x) != s.unseen(x)),
        Implies(s.unseen(x), s.work(x) == DONE),
    )


@clause("P4", "In flight never exceeds the limit.")
def in_flight_within_limit(s):
    return And(s.in_flight >= 0, s.in_flight <= limit, s.announced >= 0)


@clause("P9", "While a connection drains, nothing waits to be written.")
def draining_has_no_queue(s, x):
    return Implies(s.draining, Not(queued(s, x)))


@clause("P9", "A connection that drains and is open has something in flight.")
def draining_has_some_left(s):
    return Implies(And(s.open, s.draining), s.in_flight >= 1)


@clause("P5", "An agent pauses at its high mark and resumes at its low mark.")
def signal_follows_backlog(s):
    marks = If(s.pausing, s.jobs > low_mark, s.jobs < high_mark)
    return And(s.jobs >= 0, Implies(And(s.alive, Not(hostile)), marks))


@clause(
    "P5",
    "The last pause or resume on its way is the agent's last word; with none on its way, the proxy has it.",
)
def last_signal_counts(s):
    heard = If(s.signals == 0, s.paused == s.pausing, s.last_pauses == s.pausing)
    return And(s.signals >= 0, Implies(And(s.open, s.alive, s.whole, Not(manual)), heard))


@clause("P5", "An agent that pauses by its backlog pauses no single request.")
def requests_are_not_paused(s, x):
    return Implies(Not(manual), Not(s.request_paused(lane(x))))


def initial(s: State, x) -> BoolRef:
    """ProxyConnection::become_open and AgentConnection::become_open: nothing admitted, nothing on its way."""
    return And(
        s.stage(x) == NEW,
        untouched(s, x),
        *[
            s.open,
            s.alive,
            s.whole,
            Not(s.draining),
            Not(s.paused),
            Not(s.request_paused(lane(x))),
            Not(s.above),
        ],
        *[s.in_flight == 0, s.jobs == 0, Not(s.pausing), s.signals == 0, s.announced == limit],
    )


def invariant(s: State, terms, without: str | None = None) -> list[BoolRef]:
    """Every clause at every exchange that is spoken of."""
    facts = []
    for c in CLAUSES:
        if c.name == without:
            continue
        match c.arity:
            case 0:
                facts.append(c.holds(s))
            case 1:
                facts.extend(c.holds(s, x) for x in terms)
            case 2:
                facts.extend(c.holds(s, x, y) for x in terms for y in terms if x is not y)
    return facts
