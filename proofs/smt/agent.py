"""What the agent's connection does, and the queue in which the proxy's frames reach it.

This is the agent of this crate. What another one may do that keeps to nothing is in proxy.py
(`answer_invented`, `frame_swallowed`, `signal_by_hand`).
"""

from model import *
from tables import BACKPRESSURE, INBOX, split
from z3 import BoolVal


def ask(tables: Tables, fact: str) -> dict[str, str]:
    return {work: tables.ask(INBOX, work, fact) for work in WORKS}


def by_work(s: State, x, results: dict[str, ExprRef], otherwise: ExprRef) -> ExprRef:
    for work, result in results.items():
        otherwise = If(s.work(x) == WORKS[work], result, otherwise)
    return otherwise


def take_turns(scene: Scene, s: State) -> State:
    """AgentConnection::advance, first half: Inbox::next_turn until nothing has its turn. Whose turn it
    is is left open: any of the unanswered."""
    turns, jobs = scene.flags("turns"), scene.number("jobs")
    steps = ask(scene.tables, "Turn")
    # Inbox::deliver has an event to give only where it still waits; Inbox::skip answers whatever it is.
    deliver = [work for work, step in steps.items() if step == "Deliver"]
    answer = [work for work, step in steps.items() if step == "AnswerUnseen"]
    works = {work: RUNNING for work in deliver} | {work: DONE for work in answer}

    def unseen(x):
        return And(turns(x), by_work(s, x, {work: BoolVal(True) for work in answer}, BoolVal(False)))

    def handed(x):
        return And(turns(x), s.work(x) == WAITING, BoolVal("Waiting" in deliver))

    after = replace(
        s,
        work=lambda x: If(turns(x), by_work(s, x, works, s.work(x)), s.work(x)),
        handed=lambda x: Or(s.handed(x), handed(x)),
        unseen=lambda x: Or(s.unseen(x), unseen(x)),
        answer_sent=lambda x: Or(s.answer_sent(x), unseen(x)),
        jobs=jobs,
    )
    # Turns only take entries away.
    scene.assume(jobs <= s.jobs)
    scene.counts(jobs, lambda x: has_job(after, x))
    scene.claim_for_all(
        "P1",
        "the agent hands an event to its application once",
        lambda x: Implies(handed(x), Not(s.handed(x))),
    )
    scene.claim_for_all(
        "P2",
        "the agent makes up an answer only where nobody waits",
        lambda x: Implies(unseen(x), s.told(x) == 1),
    )
    return after


def signal_due(scene: Scene, s: State) -> State:
    """Inbox::signal_due, and AgentConnection::advance, which sends the signal."""
    high, low = s.jobs >= high_mark, s.jobs <= low_mark
    levels = {"High": high, "Low": And(Not(high), low), "Between": And(Not(high), Not(low))}
    pauses, resumes = [], []
    for signal in ("Resumed", "Paused"):
        for level, there in levels.items():
            _, action = split(scene.tables.ask(BACKPRESSURE, signal, level))
            here = And(s.pausing == BoolVal(signal == "Paused"), there)
            if action == "Pause":
                pauses.append(here)
            elif action == "Resume":
                resumes.append(here)
            else:
                assert action is None, action
    pause, resume = Or(*pauses), Or(*resumes)
    sends = Or(pause, resume)
    scene.claim(
        "P5", "an agent pauses at its high mark, if it has not", Implies(pause, And(Not(s.pausing), high))
    )
    scene.claim(
        "P5", "an agent resumes at its low mark, if it has paused", Implies(resume, And(s.pausing, low))
    )
    return replace(
        s,
        pausing=If(pause, True, If(resume, False, s.pausing)),
        last_pauses=If(sends, pause, s.last_pauses),
        signals=s.signals + one_if(sends),
    )


def advance(scene: Scene, s: State) -> State:
    return signal_due(scene, take_turns(scene, s))


def first_in_queue(scene: Scene, stamp: ExprRef) -> None:
    """Frames arrive in the order in which they were sent."""
    s = scene.before
    scene.assume_for_all(lambda y: Implies(s.event_sent(y), s.event_stamp(y) >= stamp))
    scene.assume_for_all(lambda y: Implies(s.cancel_sent(y), s.cancel_stamp(y) >= stamp))


# The steps.


def event_arrives(scene: Scene) -> None:
    """AgentConnection::handle_event and Inbox::arrive. Whoever drives the agent names each event anew."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.alive, Not(hostile), s.event_sent(x))
    first_in_queue(scene, s.event_stamp(x))
    arrived = replace(
        s,
        event_sent=put(s.event_sent, x, BoolVal(False)),
        work=put(s.work, x, WAITING),
        jobs=s.jobs + one_if(Not(has_job(s, x))),
    )
    scene.after = advance(scene, arrived)


def cancel_arrives(scene: Scene) -> None:
    """AgentConnection::handle_cancel and Inbox::cancel: the one that is named, or all of its
    correlation id."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.alive, Not(hostile), s.cancel_sent(x))
    first_in_queue(scene, s.cancel_stamp(x))
    steps = ask(scene.tables, "Cancelled")
    # Inbox::cancel_one does nothing on any other step.
    works = {
        work: SKIPPED if step == "Skip" else TOLD for work, step in steps.items() if step in ("Skip", "Tell")
    }

    def meant(y):
        return And(has_job(s, y), If(by_exchange_id, y == x, lane(y) == lane(x)))

    cancelled = replace(
        s,
        cancel_sent=put(s.cancel_sent, x, BoolVal(False)),
        work=lambda y: If(meant(y), by_work(s, y, works, s.work(y)), s.work(y)),
    )
    scene.claim_for_all("P6", "a Cancel reaches no event but its own", lambda y: Implies(meant(y), y == x))
    tells = {work: BoolVal(step == "Tell") for work, step in steps.items()}
    scene.claim_for_all(
        "P6",
        "the application is told once that nobody waits",
        lambda y: Implies(And(meant(y), by_work(s, y, tells, BoolVal(False))), s.work(y) == RUNNING),
    )
    scene.claim(
        "P6",
        "an event that is cancelled before its turn is skipped",
        Implies(s.work(x) == WAITING, cancelled.work(x) == SKIPPED),
    )
    scene.claim(
        "P6",
        "the handler of an event that is cancelled is told",
        Implies(s.work(x) == RUNNING, cancelled.work(x) == TOLD),
    )
    scene.after = advance(scene, cancelled)


def application_answers(scene: Scene) -> None:
    """AgentConnection::answer, called for any event, rightly or wrongly."""
    s, x = scene.before, scene.exchange("x")
    scene.assume(s.alive, Not(hostile), has_job(s, x))
    steps = ask(scene.tables, "Answered")
    taken = by_work(s, x, {work: BoolVal(step == "Answer") for work, step in steps.items()}, BoolVal(False))
    answered = replace(
        s,
        work=put(s.work, x, DONE),
        answer_sent=put(s.answer_sent, x, BoolVal(True)),
        jobs=s.jobs - 1,
    )
    scene.claim("P2", "the application answers only what it was given", Implies(taken, s.handed(x)))
    scene.after = choose(taken, advance(scene, answered), s)


def handler_answers(scene: Scene) -> None:
    """The same, by a handler that was given the event: what an application that works does."""
    application_answers(scene)
    scene.assume(scene.before.handed(scene.terms[0]))


def agent_closes(scene: Scene) -> None:
    """The agent's connection ends, for whatever reason: what it had is gone, and any of what it sent
    may be lost."""
    s, kept, signals = scene.before, scene.flags("kept"), scene.number("signals")
    scene.assume(s.alive, Not(hostile), signals >= 0)
    scene.after = replace(
        s,
        alive=BoolVal(False),
        answer_sent=lambda x: And(s.answer_sent(x), kept(x)),
        signals=signals,
    )


def agent_notices(scene: Scene) -> None:
    """AgentConnection::handle_eof or handle_transport_lost, after the proxy has closed or the
    transport has broken."""
    scene.assume(Not(And(scene.before.open, scene.before.whole)))
    agent_closes(scene)


def transport_breaks(scene: Scene) -> None:
    """Either direction ends or breaks. Both ends go on until they notice."""
    s = scene.before
    scene.assume(s.whole)
    scene.after = replace(s, whole=BoolVal(False))


def frames_are_lost(scene: Scene) -> None:
    """What a broken transport was to carry, in either direction, any of it at any time."""
    s, events, cancels, answers = (
        scene.before,
        scene.flags("events"),
        scene.flags("cancels"),
        scene.flags("answers"),
    )
    signals = scene.number("signals")
    scene.assume(Not(s.whole), signals >= 0)
    scene.after = replace(
        s,
        event_sent=lambda x: And(s.event_sent(x), events(x)),
        cancel_sent=lambda x: And(s.cancel_sent(x), cancels(x)),
        answer_sent=lambda x: And(s.answer_sent(x), answers(x)),
        signals=signals,
    )
