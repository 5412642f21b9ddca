"""The state that the proof is about, and how a step on it is described.

Any number of exchanges and of correlation ids: both are uninterpreted sorts, and what is kept per
exchange is a function of it. A step says what it assumes of the state before, what the state is
afterwards, and what it claims. Everything that holds for all exchanges is instantiated at the few
that a proof speaks of (`Scene.terms`), so z3 only ever sees formulas without quantifiers: it always
decides them, and a counterexample is a small concrete state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import combinations

from z3 import (
    And,
    Bool,
    BoolRef,
    BoolSort,
    Const,
    DeclareSort,
    EnumSort,
    ExprRef,
    Function,
    If,
    Implies,
    Int,
    IntSort,
    Not,
    Or,
)

from tables import Tables

Exchange = DeclareSort("Exchange")
Id = DeclareSort("Id")
Stage, (NEW, QUEUED, IN_FLIGHT, ABANDONED, GONE) = EnumSort(
    "Stage", ["New", "Queued", "InFlight", "Abandoned", "Gone"]
)
Work, (ABSENT, WAITING, SKIPPED, RUNNING, TOLD, DONE) = EnumSort(
    "Work", ["Absent", "Waiting", "Skipped", "Running", "Told", "Done"]
)
STAGES = {"Queued": QUEUED, "InFlight": IN_FLIGHT, "Abandoned": ABANDONED}
WORKS = {"Waiting": WAITING, "Skipped": SKIPPED, "Running": RUNNING, "Told": TOLD}

# What never changes on a connection.
lane = Function("lane", Exchange, Id)  # the correlation id of an exchange's event
completes = Function("completes", Exchange, BoolSort())  # its event is a RequestComplete
by_exchange_id = Bool("by_exchange_id")  # Terms::matching
cancellation = Bool("cancellation")  # Terms::cancellation
hostile = Bool("hostile")  # the agent is not ours and answers what and when it likes
manual = Bool("manual")  # the agent pauses and resumes at will, not by its backlog
limit = Int("limit")  # ProxyLimits::window, or the stated concurrency if that is smaller
low_mark = Int("low_mark")  # InboxLimits
high_mark = Int("high_mark")

# The marks are in order; nothing else is asked of a configuration.
RIGID = And(limit >= 0, low_mark >= 0, low_mark < high_mark, Implies(hostile, manual))

Of = Callable[[ExprRef], ExprRef]


def remembered(of: Of) -> Of:
    if hasattr(of, "of"):
        return of
    known = {}

    def result(x):
        if x.get_id() not in known:
            known[x.get_id()] = (of(x), x)  # with the term, so that no other gets its number
        return known[x.get_id()][0]

    result.of = of
    return result


def once(predicate):
    """Remembers in the state what `predicate(state, exchanges...)` said."""

    def result(s, *terms):
        key = (predicate, *[term.get_id() for term in terms])
        if key not in s.memo:
            s.memo[key] = (predicate(s, *terms), terms)
        return s.memo[key][0]

    return result


@dataclass(frozen=True)
class State:
    """Functions are of an exchange, but for `request_paused`, which is of a correlation id."""

    # The proxy's connection, once the handshake is done.
    open: BoolRef  # State::Open, not State::Closed
    draining: BoolRef  # Phase::Draining
    drain_by_peer: BoolRef  # its DrainCause
    paused: BoolRef  # Flow::pause
    request_paused: Of  # Flow::paused_ids
    announced: ExprRef  # Flow::announced; the limit if none was
    above: BoolRef  # Open::backlog
    in_flight: ExprRef  # Correlation::in_flight, the number of entries of its table `on_wire`
    stage: Of  # Correlation::stage; New before admission, Gone when the entry has gone
    # What has been said so far of each exchange.
    told: Of  # ends told to its caller
    events: Of  # times its event was given to the transport
    cancels: Of  # Cancels for it
    # From proxy to agent, outbox and wire together: one queue, each frame with a stamp.
    event_sent: Of  # its event is in the queue
    event_stamp: Of
    cancel_sent: Of  # its Cancel is in the queue
    cancel_stamp: Of
    clock: ExprRef  # the next stamp
    # The agent's connection.
    alive: BoolRef  # it is not closed
    whole: BoolRef  # the transport carries what is written, both ways
    work: Of  # Inbox::work; Absent before its event came, Done after its answer
    handed: Of  # the application was given the event
    unseen: Of  # it was answered without the application
    jobs: ExprRef  # Inbox::unanswered, the number of its entries
    pausing: BoolRef  # Inbox::signal is Paused
    # From agent to proxy.
    answer_sent: Of  # the answer to its event is in the queue
    signals: ExprRef  # pauses and resumes in the queue
    last_pauses: BoolRef  # the last of them is a pause

    def __post_init__(self):
        # What is said of a state is said many times; each formula is built once.
        object.__setattr__(self, "memo", {})
        for field in fields(self):
            value = getattr(self, field.name)
            if callable(value):
                object.__setattr__(self, field.name, remembered(value))


KINDS = {
    "stage": Stage,
    "work": Work,
    **dict.fromkeys(["told", "events", "cancels", "event_stamp", "cancel_stamp"], IntSort()),
    **dict.fromkeys(["event_sent", "cancel_sent", "answer_sent", "handed", "unseen"], BoolSort()),
}
NUMBERS = ["announced", "in_flight", "clock", "jobs", "signals"]


def any_state() -> State:
    """A state of which nothing is known."""

    def unknown(name: str):
        if name in KINDS:
            return Function(name, Exchange, KINDS[name])
        if name == "request_paused":
            return Function(name, Id, BoolSort())
        return Int(name) if name in NUMBERS else Bool(name)

    return State(**{field.name: unknown(field.name) for field in fields(State)})


BEFORE = any_state()


@once
def queued(s: State, x) -> BoolRef:
    return s.stage(x) == QUEUED


@once
def on_wire(s: State, x) -> BoolRef:
    return Or(s.stage(x) == IN_FLIGHT, s.stage(x) == ABANDONED)


@once
def live(s: State, x) -> BoolRef:
    return Or(queued(s, x), on_wire(s, x))


@once
def has_job(s: State, x) -> BoolRef:
    return Or(*[s.work(x) == work for work in WORKS.values()])


def window(s: State) -> ExprRef:
    """Flow::window."""
    return If(s.announced < limit, s.announced, limit)


def put(of: Of, x, value) -> Of:
    """`of`, but `value` at `x`."""
    return lambda y: If(y == x, value, of(y))


def choose(condition: BoolRef, then: State, other: State) -> State:
    def field(name: str):
        a, b = getattr(then, name), getattr(other, name)
        if a is b:
            return a
        if callable(a):
            return lambda y: If(condition, a(y), b(y))
        return If(condition, a, b)

    return State(**{f.name: field(f.name) for f in fields(State)})


@dataclass(frozen=True)
class Claim:
    property: str
    name: str
    holds: BoolRef


class Scene:
    """One step, or one question about a state, under construction."""

    def __init__(self, tables: Tables, before: State = BEFORE, number: int = 0):
        self.tables = tables
        self.before = before
        self.after = self.before
        self.terms: list[ExprRef] = []
        self.assumed: list[BoolRef] = [RIGID]
        self.assumed_for_all: list[Callable[[ExprRef], BoolRef]] = []
        self.assumed_for_pairs: list[Callable[[ExprRef, ExprRef], BoolRef]] = []
        self.claims: list[Claim] = []
        self.number_of_this = number
        self.fresh = 0

    def name(self, name: str) -> str:
        self.fresh += 1
        return f"{name}!{self.number_of_this}.{self.fresh}"

    def exchange(self, name: str) -> ExprRef:
        term = Const(self.name(name), Exchange)
        self.terms.append(term)
        return term

    def flag(self, name: str) -> BoolRef:
        return Bool(self.name(name))

    def number(self, name: str) -> ExprRef:
        return Int(self.name(name))

    def numbers(self, name: str) -> Of:
        return Function(self.name(name), Exchange, IntSort())

    def flags(self, name: str) -> Of:
        return Function(self.name(name), Exchange, BoolSort())

    def assume(self, *facts: BoolRef) -> None:
        self.assumed.extend(facts)

    def assume_for_all(self, fact: Callable[[ExprRef], BoolRef]) -> None:
        self.assumed_for_all.append(fact)

    def claim(self, property_: str, name: str, holds: BoolRef) -> None:
        self.claims.append(Claim(property_, name, holds))

    def claim_for_all(self, property_: str, name: str, holds: Callable[[ExprRef], BoolRef]) -> None:
        """Of every exchange: proved of one of which nothing is known."""
        self.claim(property_, name, holds(self.exchange("any")))

    def counts(self, number: ExprRef, member: Callable[[ExprRef], BoolRef]) -> None:
        """`number` is how many exchanges are members, as far as arithmetic can see it: none
        below zero, and as many as are known to be different members at least."""
        self.assume(number >= 0)
        self.assume_for_all(lambda x: Implies(member(x), number >= 1))
        self.assumed_for_pairs.append(lambda x, y: Implies(And(x != y, member(x), member(y)), number >= 2))

    def facts(self) -> list[BoolRef]:
        """Everything assumed, at every exchange that is spoken of."""
        singles = [fact(x) for fact in self.assumed_for_all for x in self.terms]
        pairs = [fact(x, y) for fact in self.assumed_for_pairs for x, y in combinations(self.terms, 2)]
        return [*self.assumed, *singles, *pairs]


def one_if(condition: BoolRef) -> ExprRef:
    return If(condition, 1, 0)


__all__ = [name for name in dir() if not name.startswith("__")]
