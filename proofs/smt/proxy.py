"""What the proxy's connection does with each exchange. Each function names the Rust it stands for.

Wherever the Rust asks a table about *some* exchanges, the model asks about any live one: the theorem
must not rest on the plumbing's choice of whom to ask.
"""

from dataclasses import dataclass

from model import *
from tables import DRAIN, EXCHANGE, GATE, LANE_GATE, split
from z3 import BoolVal, IntVal


@dataclass(frozen=True)
class Effect:
    """What a row of `exchange::step` makes the machine do."""

    after: str | None = None  # the stage afterwards, if it changes
    told: str | None = None  # the end that the caller is told
    event: bool = False  # the event goes to the transport
    cancel: bool = False  # a Cancel is written, where the agent wants to be told


def effect(tables: Tables, was: str, fact: str) -> Effect:
    """correlation::Correlation::apply with its helpers `write`, `remove`, `abandon`, and what
    proxy::ProxyConnection::apply, poll_transmit and close_with do with the step."""
    step, end = split(tables.ask(EXCHANGE, was, fact))
    waits = was == "Queued"
    match step:
        case "Stay" | "Stray":
            result = Effect()
        case "Write":
            # `write` finds only what waits. The event goes out only where poll_transmit asked.
            result = Effect("InFlight", event=fact == "Written") if waits else Effect()
        case "Finish":
            result = Effect("Gone", told=end, event=waits and fact == "Written")
        case "Forget":
            result = Effect("Gone", event=waits and fact == "Written")
        case "Abandon":
            # `abandon` finds only what is on the wire.
            result = Effect() if waits else Effect("Abandoned", told=end, cancel=True)
        case _:
            raise ValueError(f"no such step: {step}")
    if fact == "Written":
        # poll_transmit applies the step to the tables and does nothing else with it.
        result = Effect(result.after, event=result.event)
    if fact == "Closed":
        # close_with drops the tables whole; it tells what is finished, and that alone.
        result = Effect("Gone", told=result.told if step == "Finish" else None)
    return result


def is_true(told: str, was: str, fact: str) -> bool:
    """Whether an end says what happened, by the sentences at `exchange::End`."""
    if told == "Answered" and fact != "Answered":
        told = "Lost"  # ProxyConnection::tell: without an answer there is none to give
    written = was != "Queued"
    return {
        "Answered": fact == "Answered" and written,
        "Expired": fact == "DeadlinePassed" and not written,
        "TimedOut": fact == "DeadlinePassed" and written,
        "Cancelled": fact == "Cancelled",
        "Refused": fact == "DrainBegan" and not written,
        "Lost": fact == "Closed",
    }[told]


AFTER = {**STAGES, "Gone": GONE}


class Change:
    """A fact applied to exchanges of which only z3 knows the stage."""

    def __init__(self, scene: Scene, s: State, fact: str):
        self.s = s
        self.effects = {was: effect(scene.tables, was, fact) for was in STAGES}
        self.fact = fact

    def stage(self, x):
        result = self.s.stage(x)
        for was, done in self.effects.items():
            if done.after:
                result = If(self.s.stage(x) == STAGES[was], AFTER[done.after], result)
        return result

    def when(self, wanted) -> Of:
        """Whether what happens to an exchange is wanted."""
        stages = [STAGES[was] for was, done in self.effects.items() if wanted(done)]
        return lambda x: Or(*[self.s.stage(x) == stage for stage in stages])

    def tells(self, x):
        return self.when(lambda done: done.told is not None)(x)

    def truth(self, x):
        false = [
            STAGES[was]
            for was, done in self.effects.items()
            if done.told and not is_true(done.told, was, self.fact)
        ]
        return And(*[self.s.stage(x) != stage for stage in false])


def apply(scene: Scene, s: State, x, fact: str) -> State:
    """ProxyConnection::apply: one fact for one exchange."""
    change = Change(scene, s, fact)
    stage = change.stage(x)
    writes = change.when(lambda done: done.event)(x)
    cancels = And(change.when(lambda done: done.cancel)(x), cancellation)
    scene.claim("P1", "the end that a caller is told says what happened", change.truth(x))
    return forget(
        change,
        x,
        replace(
            s,
            stage=put(s.stage, x, stage),
            told=put(s.told, x, s.told(x) + one_if(change.tells(x))),
            events=put(s.events, x, s.events(x) + one_if(writes)),
            event_sent=put(s.event_sent, x, Or(s.event_sent(x), writes)),
            event_stamp=put(s.event_stamp, x, If(writes, s.clock, s.event_stamp(x))),
            cancels=put(s.cancels, x, s.cancels(x) + one_if(cancels)),
            cancel_sent=put(s.cancel_sent, x, Or(s.cancel_sent(x), cancels)),
            cancel_stamp=put(s.cancel_stamp, x, If(cancels, s.clock, s.cancel_stamp(x))),
            clock=s.clock + 1,
            # One entry comes or goes, so the table's length changes by one.
            in_flight=s.in_flight
            + one_if(Or(stage == IN_FLIGHT, stage == ABANDONED))
            - one_if(on_wire(s, x)),
        ),
    )


def forget(change: Change, x, s: State) -> State:
    """Flow::forget, where the exchange was its request's last (Applied::ends_request)."""
    if change.fact == "Written":
        return s
    over = And(change.when(lambda done: done.after == "Gone")(x), completes(x))
    paused = s.request_paused
    return replace(s, request_paused=lambda id_: And(paused(id_), Not(And(over, id_ == lane(x)))))


def apply_to_all(scene: Scene, s: State, fact: str) -> State:
    """The same fact for every live exchange."""
    change = Change(scene, s, fact)
    cancelled = change.when(lambda done: done.cancel)
    scene.claim_for_all("P1", "the end that a caller is told says what happened", change.truth)
    pushed = push_cancels(scene, s, lambda x: And(cancelled(x), cancellation))
    after = replace(
        pushed,
        stage=change.stage,
        told=lambda x: s.told(x) + one_if(change.tells(x)),
        in_flight=in_flight_after(scene, s, change),
    )
    scene.counts(after.in_flight, lambda x: on_wire(after, x))
    return after


def in_flight_after(scene: Scene, s: State, change: Change):
    """The table's length when some entries went and some came: no more is known than which of
    the two can have happened at all."""
    moves = {
        ((was != "Queued"), (done.after or was) in ("InFlight", "Abandoned"))
        for was, done in change.effects.items()
    }
    goes, comes = (True, False) in moves, (False, True) in moves
    if not goes and not comes:
        return s.in_flight
    result = scene.number("in_flight")
    if not comes:
        scene.assume(result <= s.in_flight)
    if not goes:
        scene.assume(result >= s.in_flight)
    return result


def push_cancels(scene: Scene, s: State, of: Of) -> State:
    """A Cancel for each of several exchanges: stamps from the clock on, in any order."""
    stamps, clock = scene.numbers("stamps"), scene.number("clock")
    scene.assume(clock > s.clock)
    scene.assume_for_all(lambda x: And(stamps(x) >= s.clock, stamps(x) < clock))
    return replace(
        s,
        cancels=lambda x: s.cancels(x) + one_if(of(x)),
        cancel_sent=lambda x: Or(s.cancel_sent(x), of(x)),
        cancel_stamp=lambda x: If(of(x), stamps(x), s.cancel_stamp(x)),
        clock=clock,
    )


def close_with(scene: Scene, s: State) -> State:
    """ProxyConnection::close_with, for whatever reason. What was to be written may be lost from
    some frame on: the outbox is cleared unless the reason flushes, and the transport goes."""
    closed = apply_to_all(scene, s, "Closed")
    cut = scene.number("cut")
    return replace(
        closed,
        open=BoolVal(False),
        in_flight=IntVal(0),
        event_sent=lambda x: And(closed.event_sent(x), closed.event_stamp(x) < cut),
        cancel_sent=lambda x: And(closed.cancel_sent(x), closed.cancel_stamp(x) < cut),
    )


def cancel_in_flight(scene: Scene, s: State) -> State:
    """ProxyConnection::cancel_in_flight: a Cancel for each exchange that a caller waits for."""
    return push_cancels(scene, s, lambda x: And(s.stage(x) == IN_FLIGHT, cancellation))


# What makes each reason for the end of a drain true: cause, what is left, deadline passed.
DRAIN_REASONS = {
    "Drained": ("Local", "None", None),
    "PeerDrained": ("Peer", "None", None),
    "DrainDeadline": ("Local", "Some", "true"),
    "PeerDrainDeadline": ("Peer", "Some", "true"),
}


def review(scene: Scene, s: State, passed: BoolRef) -> State:
    """ProxyConnection::review: an agent that owes too much is closed on, a drain that is done ends.
    When an agent owes too much is left open: at any time."""
    overdue = scene.flag("overdue")
    closes, false = [], []
    for cause in ("Local", "Peer"):
        for left in ("Some", "None"):
            for late in ("false", "true"):
                _, reason = split(scene.tables.ask(DRAIN, cause, left, late))
                if reason is None:
                    continue
                here = And(
                    s.drain_by_peer == BoolVal(cause == "Peer"),
                    (s.in_flight == 0) == BoolVal(left == "None"),
                    passed == BoolVal(late == "true"),
                )
                closes.append(here)
                if not row_says((cause, left, late), DRAIN_REASONS[reason]):
                    false.append(here)
    asked = And(s.open, s.draining, Not(overdue))
    done = And(asked, Or(*closes))
    drained = close_with(scene, cancel_in_flight(scene, s))
    after = choose(And(s.open, overdue), close_with(scene, s), choose(done, drained, s))
    scene.claim(
        "P9", "a drain ends when nothing is left", Implies(And(asked, s.in_flight == 0), Not(after.open))
    )
    scene.claim("P9", "a drain ends at its deadline", Implies(And(asked, passed), Not(after.open)))
    scene.claim(
        "P9", "a drain ends no earlier", Implies(And(asked, s.in_flight > 0, Not(passed)), after.open)
    )
    scene.claim("P9", "a drain ends with the true reason", Implies(asked, Not(Or(*false))))
    return after


def not_passed() -> BoolRef:
    return BoolVal(False)


def gate_open(tables: Tables, s: State) -> BoolRef:
    """Open::gate."""
    rows = []
    for serving in ("Yes", "Draining"):
        for pause in ("Running", "Paused"):
            for room in ("Some", "None"):
                for backlog in ("Below", "Above"):
                    if tables.ask(GATE, serving, pause, room, backlog) == "Open":
                        rows.append(
                            And(
                                s.draining == BoolVal(serving == "Draining"),
                                s.paused == BoolVal(pause == "Paused"),
                                (s.in_flight < window(s)) == BoolVal(room == "Some"),
                                s.above == BoolVal(backlog == "Above"),
                            )
                        )
    return Or(*rows)


def lane_open(tables: Tables, s: State, x, unanswered: BoolRef) -> BoolRef:
    """Whether Correlation::settle puts the head of this lane among those that are ready."""
    rows = []
    for matching in ("OneAtATime", "ByExchangeId"):
        for behind in ("false", "true"):
            for paused in ("false", "true"):
                if tables.ask(LANE_GATE, matching, behind, paused) == "Open":
                    rows.append(
                        And(
                            by_exchange_id == BoolVal(matching == "ByExchangeId"),
                            unanswered == BoolVal(behind == "true"),
                            s.request_paused(lane(x)) == BoolVal(paused == "true"),
                        )
                    )
    return Or(*rows)


# What makes each reason for a shut gate true, by the sentences at `flow::Shut`: of the inputs of the
# table, those that it is about.
REASONS = {
    GATE: {
        "Draining": ("Draining", None, None, None),
        "Paused": (None, "Paused", None, None),
        "WindowFull": (None, None, "None", None),
        "Backlog": (None, None, None, "Above"),
    },
    LANE_GATE: {"RequestPaused": (None, None, "true"), "Behind": ("OneAtATime", "true", None)},
}


# The property that each reason serves.
SERVES = {
    "Draining": "P9",
    "Paused": "P5",
    "RequestPaused": "P5",
    "WindowFull": "P4",
    "Backlog": "P4",
    "Behind": "P2",
    None: "P5",
}


def shut_for_a_reason(scene: Scene) -> None:
    """ProxyConnection::shut and Open::shut_for: what a caller is told of a gate. It is shut if there is a
    reason, and the reason told is the first in the order of the enum (`flow::Gate`)."""
    for name, reasons in REASONS.items():
        for row, told in scene.tables.all(name):
            true = [reason for reason, inputs in reasons.items() if row_says(row, inputs)]
            expected = true[0] if true else None
            title = f"{name} of {' x '.join(row)} is {expected or 'open'}"
            scene.claim(SERVES[expected], title, BoolVal(told == expected))


def row_says(row: tuple[str, ...], wanted: tuple[str | None, ...]) -> bool:
    return all(want in (None, given) for want, given in zip(wanted, row, strict=True))


def unanswered_in_lane(scene: Scene, s: State, x) -> BoolRef:
    """Whether an unanswered event of this lane is on the wire: Lane::on_wire is not empty."""
    unanswered, witness = scene.flag("unanswered"), scene.exchange("unanswered_one")
    scene.assume(Implies(unanswered, And(lane(witness) == lane(x), on_wire(s, witness))))
    scene.assume_for_all(lambda y: Implies(And(lane(y) == lane(x), on_wire(s, y)), unanswered))
    return unanswered


# The steps.


def submit(scene: Scene) -> None:
    """ProxyConnection::submit, as far as Open::judge lets it: open, not draining, an id not used yet."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.open, Not(s.draining), s.stage(x) == NEW)
    scene.after = replace(s, stage=put(s.stage, x, QUEUED))


def write(scene: Scene) -> None:
    """ProxyConnection::poll_transmit, where it gives out an event."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.open, live(s, x), gate_open(scene.tables, s))
    scene.assume(lane_open(scene.tables, s, x, unanswered_in_lane(scene, s, x)))
    after = scene.after = apply(scene, s, x, "Written")
    written = after.events(x) > s.events(x)
    scene.claim(
        "P4",
        "an event is written only into a free place of the window",
        Implies(written, s.in_flight < window(s)),
    )
    scene.claim("P5", "no event is written while the agent has paused", Implies(written, Not(s.paused)))
    scene.claim(
        "P5",
        "no event is written while the agent has paused its request",
        Implies(written, Not(s.request_paused(lane(x)))),
    )
    scene.claim("P9", "no event is written once a drain has begun", Implies(written, Not(s.draining)))
    scene.claim("P4", "no event is written over the mark of unwritten bytes", Implies(written, Not(s.above)))


def write_ready(scene: Scene) -> None:
    """The same for what waits: what a driver that writes does."""
    write(scene)
    scene.assume(queued(scene.before, scene.terms[0]))


def give_up(scene: Scene, fact: str, name: str) -> State:
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.open, live(s, x))
    applied = apply(scene, s, x, fact)
    scene.claim(
        "P1",
        f"{name} ends an exchange for its caller at once",
        Implies(
            live(s, x), And(applied.told(x) == 1, Or(applied.stage(x) == ABANDONED, applied.stage(x) == GONE))
        ),
    )
    scene.claim(
        "P6",
        "giving up an event that waits writes nothing",
        Implies(queued(s, x), And(applied.events(x) == s.events(x), applied.cancels(x) == s.cancels(x))),
    )
    scene.claim(
        "P6",
        "giving up an event on the wire writes one Cancel if the agent wants it",
        Implies(s.stage(x) == IN_FLIGHT, applied.cancels(x) == one_if(cancellation)),
    )
    scene.claim(
        "P4", "what is given up keeps its slot", Implies(on_wire(s, x), applied.in_flight == s.in_flight)
    )
    scene.after = review(scene, applied, not_passed())


def cancel(scene: Scene) -> None:
    """ProxyConnection::cancel, and so cancel_request and cancel_all, which call it one by one."""
    give_up(scene, "Cancelled", "a cancellation")


def deadline(scene: Scene) -> None:
    """ProxyConnection::handle_timeout, for an exchange whose deadline has passed."""
    give_up(scene, "DeadlinePassed", "a deadline")


def begin_drain(scene: Scene) -> None:
    """ProxyConnection::begin_drain: asked for here, or announced by the agent. The deadline may
    have passed already."""
    s = scene.before
    scene.assume(s.open, Not(s.draining))
    draining = replace(s, draining=BoolVal(True), drain_by_peer=scene.flag("by_peer"))
    refused = apply_to_all(scene, draining, "DrainBegan")
    scene.claim_for_all(
        "P9",
        "a drain refuses what waits at once",
        lambda y: Implies(queued(s, y), And(refused.stage(y) == GONE, refused.told(y) == 1)),
    )
    scene.claim_for_all(
        "P9",
        "a drain leaves what is on the wire alone",
        lambda y: Implies(on_wire(s, y), refused.stage(y) == s.stage(y)),
    )
    scene.after = review(scene, refused, scene.flag("passed"))


def time_passes(scene: Scene) -> None:
    """ProxyConnection::handle_timeout, as far as the drain goes; also a second `drain`."""
    s = scene.before
    scene.assume(s.open)
    scene.after = review(scene, s, scene.flag("passed"))


def close(scene: Scene) -> None:
    """ProxyConnection::close_with, for whatever reason, at any time."""
    s = scene.before
    scene.assume(s.open)
    scene.after = close_with(scene, s)
    scene.claim_for_all(
        "P1", "closing tells every caller that waits", lambda y: Implies(live(s, y), scene.after.told(y) == 1)
    )


def answer_found(scene: Scene) -> None:
    """ProxyConnection::handle_answer, where Correlation::find finds an exchange: the one that is
    named, or whichever of its correlation id is on the wire."""
    s, x, found = scene.before, scene.exchange("x"), scene.exchange("found")
    scene.assume(s.open, s.answer_sent(x), Not(hostile))
    scene.assume(on_wire(s, found), If(by_exchange_id, found == x, lane(found) == lane(x)))
    scene.claim("P2", "an answer ends only the exchange whose event it answers", found == x)
    scene.claim(
        "P2",
        "no caller is given the answer made up for a cancelled event",
        Implies(s.unseen(x), s.stage(found) != IN_FLIGHT),
    )
    received = replace(s, answer_sent=put(s.answer_sent, x, BoolVal(False)))
    applied = apply(scene, received, found, "Answered")
    scene.claim("P4", "an answer gives its slot back", applied.in_flight == s.in_flight - 1)
    scene.after = review(scene, applied, not_passed())


def answer_stray(scene: Scene) -> None:
    """The same where nothing is found, which an agent that keeps to the protocol never brings about;
    or where the connection has closed."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.answer_sent(x), Not(hostile))
    scene.assume_for_all(
        lambda y: Not(And(s.open, on_wire(s, y), If(by_exchange_id, y == x, lane(y) == lane(x))))
    )
    scene.claim("P2", "an answer of an agent that keeps to the protocol is never stray", Not(s.open))
    scene.after = replace(s, answer_sent=put(s.answer_sent, x, BoolVal(False)))


def answer_invented(scene: Scene) -> None:
    """An agent that keeps to nothing: an answer that is taken for that of any live exchange."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.open, hostile, live(s, x))
    scene.after = review(scene, apply(scene, s, x, "Answered"), not_passed())
    scene.claim(
        "P1",
        "an answer to an event that was never written ends nothing",
        Implies(queued(s, x), scene.after.told(x) == one_if(Not(scene.after.open))),
    )


def frame_swallowed(scene: Scene) -> None:
    """An agent that keeps to nothing reads what it likes."""
    s = scene.before
    kept = scene.flags("kept")
    scene.assume(hostile)
    scene.after = replace(
        s,
        event_sent=lambda x: And(s.event_sent(x), kept(x)),
        cancel_sent=lambda x: And(s.cancel_sent(x), kept(x)),
    )


def signal_arrives(scene: Scene) -> None:
    """Flow::handle_connection_signal, for a pause or a resume by the agent's machine. They arrive in
    order; of those on the way only the last is remembered, so what another says is left open."""
    s = scene.before
    scene.assume(s.signals > 0)
    said = If(s.signals == 1, s.last_pauses, scene.flag("said"))
    scene.after = replace(s, signals=s.signals - 1, paused=If(s.open, said, s.paused))


def signal_by_hand(scene: Scene) -> None:
    """Flow::handle_connection_signal and handle_request_signal, from an agent that pauses and resumes
    the connection or single requests at will."""
    s, requests = scene.before, Function(scene.name("requests"), Id, BoolSort())
    scene.assume(s.open, manual)
    scene.after = replace(s, paused=scene.flag("said"), request_paused=requests)


def capacity_announced(scene: Scene) -> None:
    """FlowAction::UpdateCapacity: any number, also below what is in flight."""
    announced = scene.number("announced")
    scene.assume(scene.before.open, announced >= 0)
    scene.after = replace(scene.before, announced=announced)


def backlog_reported(scene: Scene) -> None:
    """ProxyConnection::handle_backlog."""
    scene.assume(scene.before.open)
    scene.after = replace(scene.before, above=scene.flag("above"))


def end_of_stream(scene: Scene) -> None:
    """ProxyConnection::handle_eof or handle_transport_lost, after the agent has closed or the
    transport has broken."""
    scene.assume(Not(And(scene.before.alive, scene.before.whole)))
    close(scene)
