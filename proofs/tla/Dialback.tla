------------------------------ MODULE Dialback ------------------------------
(* The protocol between a proxy and an agent, told once more: written from      *)
(* docs/protocol.md, whose rules the comments name. What it says is about       *)
(* exchanges, not about bytes: see README.md for what it leaves out.            *)
(*                                                                              *)
(* Each side is a record and changes by functions from record to record; an     *)
(* action is one call of one side and what both sides' drivers do at once.      *)
EXTENDS Naturals, Sequences, FiniteSets

CONSTANTS
    Lane,           \* for each exchange, in the order of submission: its request
    Within,         \* for each exchange: ticks that its caller waits; 0 for ever
    LastWord,       \* exchanges that are their request's last
    AgentDials,     \* reverse if TRUE, forward if FALSE
    Exact,          \* whether the agent echoes exchange ids (X-ECHO-1)
    Cancellation,   \* whether the agent wants Cancels (C-CANCEL-1)
    Window,         \* unanswered events that may be on the wire (F-WINDOW-1)
    Queue,          \* events that may wait (F-WAIT-1)
    OwedLimit,      \* late answers that an agent may owe (X-OWED-1)
    Running,        \* events that the agent's application has at once
    High, Low,      \* marks of the agent's backlog (F-AGENT-1)
    Ticks,          \* time that passes in all
    HandshakeTicks, \* time for a handshake (H-TIME-1)
    DrainTicks,     \* time for a drain (C-DRAIN-1, C-DRAIN-2)
    Powers,         \* what callers and the world may do
    PauseLanes,     \* requests that the agent may pause one by one (F-PAUSE-2)
    Rooms,          \* capacities that the agent may announce (F-CAP-1)
    Budget          \* pauses and capacities that the agent may say, in all

VARIABLES
    clock,
    proxy, agent,     \* the two sides
    toAgent, toProxy, \* the two directions of the stream
    said,             \* what the agent has said about flow, unread parts included
    budget,           \* how often it may still say something
    cancels           \* how many Cancels were written for each exchange

vars == <<clock, proxy, agent, toAgent, toProxy, said, budget, cancels>>

Exchanges == 1..Len(Lane)
Lanes == {Lane[n] : n \in Exchanges}
Never == 999          \* later than any time, more than any room

Least(a, b) == IF a < b THEN a ELSE b
First(S) == CHOOSE n \in S : \A m \in S : n <= m
Last(S) == CHOOSE n \in S : \A m \in S : m <= n

------------------------------------------------------------------------------
(* Frames. An answer carries whose it truly is, which no receiver may look at;  *)
(* 0 stands for "names no exchange" and for "nobody looked at the event".       *)

Offer == <<"offer">>
Yes == <<"yes">>
No == <<"no">>
Draining == <<"draining">>
Event(n) == <<"event", n>>
Echo(n) == IF Exact THEN n ELSE 0
Cancelling(n) == <<"cancel", Lane[n], Echo(n)>>
Answering(n, of) == <<"answer", Lane[n], Echo(n), of>>
PauseFrame == <<"pause">>
ResumeFrame == <<"resume">>
PauseOf(l) == <<"pauseOf", l>>
ResumeOf(l) == <<"resumeOf", l>>
Room(k) == <<"room", k>>

------------------------------------------------------------------------------
(* Streams: first in, first out, reliable until they end or break.              *)

Fresh == [frames |-> <<>>, flowing |-> "on"]
Abandoned == [frames |-> <<>>, flowing |-> "over"]
Put(s, f) == IF s.flowing = "on" THEN [s EXCEPT !.frames = Append(@, f)] ELSE s
End(s) == IF s.flowing = "on" THEN [s EXCEPT !.flowing = "ended"] ELSE s
Break(s) == IF s.flowing = "over" THEN s ELSE [frames |-> <<>>, flowing |-> "broken"]
Readable(s) == s.frames # <<>> \/ s.flowing \in {"ended", "broken"}
Rest(s) == IF s.frames = <<>> THEN Abandoned ELSE [s EXCEPT !.frames = Tail(@)]

------------------------------------------------------------------------------
(* Either side.                                                                 *)

Accepting == {"awaitingOffer", "deciding"}
Opening(side) == side.phase \in Accepting \cup {"awaitingAnswer"}
Open(side) == side.phase \in {"open", "draining"}
Closed(side) == side.phase = "closed"

(* Reasons that let what is already made still be written.                      *)
Flushing == {"closed", "rejected", "drained", "drainDeadline", "peerDrained", "peerDrainDeadline",
             "handshakeDeadline", "unresponsive", "violation"}

(* What is left to write by a side that ends: a dialler is told why (H-REFUSE-1). *)
LeftToWrite(side, why) ==
    (IF why \in Flushing THEN side.out ELSE <<>>)
    \o (IF side.phase \in Accepting /\ why \in Flushing \ {"rejected"} THEN <<No>> ELSE <<>>)

------------------------------------------------------------------------------
(* The proxy.                                                                   *)

Queued(p) == {n \in Exchanges : p.stage[n] = "queued"}
InFlight(p) == {n \in Exchanges : p.stage[n] = "inFlight"}
Owed(p) == {n \in Exchanges : p.stage[n] = "abandoned"}
OnWire(p) == InFlight(p) \cup Owed(p)       \* X-MATCH-2: what is owed counts
Pending(p) == Queued(p) \cup InFlight(p)    \* somebody waits

ProxyOpens(p) == [p EXCEPT !.phase = "open", !.opened = TRUE, !.window = Window]

(* X-ORDER-1, X-MATCH-1, F-PAUSE-2: as far as its request is concerned.         *)
HasItsTurn(p, n) ==
    /\ \A m \in Queued(p) : Lane[m] = Lane[n] => n <= m
    /\ Exact \/ \A m \in OnWire(p) : Lane[m] # Lane[n]
    /\ Lane[n] \notin p.pausedLanes

(* F-WINDOW-1, F-PAUSE-1, F-MARK-1, C-DRAIN-1. Of several the oldest goes first, *)
(* which no rule demands.                                                       *)
Writable(p) ==
    IF p.phase = "open" /\ ~p.paused /\ ~p.stalled /\ Cardinality(OnWire(p)) < p.window
    THEN {n \in Queued(p) : HasItsTurn(p, n)}
    ELSE {}

(* An exchange is over; with a request's last word the pause of it goes (F-PAUSE-2). *)
Finish(p, n, word) ==
    [p EXCEPT !.stage[n] = "over", !.told[n] = word, !.due[n] = Never,
              !.pausedLanes = IF n \in LastWord THEN @ \ {Lane[n]} ELSE @]

(* Its caller is gone, its answer is owed (X-MATCH-2, C-CANCEL-1).              *)
Abandon(p, n, word) ==
    [p EXCEPT !.stage[n] = "abandoned", !.told[n] = word, !.due[n] = Never,
              !.out = IF Cancellation THEN Append(@, Cancelling(n)) ELSE @]

GiveUp(p, n, unwritten, written) ==
    IF p.stage[n] = "queued" THEN Finish(p, n, unwritten) ELSE Abandon(p, n, written)

(* X-ONCE-2, C-CLOSE-1, C-CLOSE-2: everything pending ends with the connection. *)
ProxyCloses(p, why) ==
    [p EXCEPT
        !.phase = "closed", !.why = why, !.cause = "none", !.deadline = Never,
        !.out = LeftToWrite(p, why),
        !.stage = [n \in Exchanges |-> IF p.stage[n] = "planned" THEN "planned" ELSE "over"],
        !.told = [n \in Exchanges |->
            CASE p.stage[n] = "queued" -> "lostUnwritten"
              [] p.stage[n] = "inFlight" -> "lostWritten"
              [] OTHER -> p.told[n]],
        !.due = [n \in Exchanges |-> Never],
        !.window = 0, !.paused = FALSE, !.pausedLanes = {}, !.stalled = FALSE]

RECURSIVE CancelAll(_, _)
CancelAll(out, S) ==
    IF S = {} \/ ~Cancellation THEN out
    ELSE CancelAll(Append(out, Cancelling(First(S))), S \ {First(S)})

(* X-OWED-1; then C-DRAIN-1 and C-DRAIN-2: does a drain end?                    *)
ProxyReviews(p, now) ==
    IF ~Open(p) THEN p
    ELSE IF Cardinality(Owed(p)) > OwedLimit THEN ProxyCloses(p, "unresponsive")
    ELSE IF p.phase = "open" THEN p
    ELSE IF OnWire(p) = {} THEN
        ProxyCloses(p, IF p.cause = "local" THEN "drained" ELSE "peerDrained")
    ELSE IF p.deadline <= now THEN
        ProxyCloses([p EXCEPT !.out = CancelAll(@, InFlight(p))],
                    IF p.cause = "local" THEN "drainDeadline" ELSE "peerDrainDeadline")
    ELSE p

RECURSIVE RefuseAll(_, _)
RefuseAll(p, S) == IF S = {} THEN p ELSE RefuseAll(Finish(p, First(S), "refused"), S \ {First(S)})

ProxyDrains(p, cause, deadline, now) ==
    CASE Opening(p) -> ProxyCloses(p, "drained")
      [] p.phase = "open" ->
            ProxyReviews(RefuseAll([p EXCEPT !.phase = "draining", !.cause = cause,
                                             !.deadline = deadline], Queued(p)), now)
      [] p.phase = "draining" ->
            ProxyReviews([p EXCEPT !.deadline = Least(@, deadline)], now)
      [] OTHER -> p

(* Whose answer it is: by exchange id alone (X-ECHO-2), or the one unanswered   *)
(* event of its request (X-MATCH-1). Not by whose it truly is.                  *)
Meant(p, lane, echo) ==
    {n \in OnWire(p) : Lane[n] = lane /\ (Exact => n = echo)}

(* X-MATCH-3: what belongs to no event is dropped.                              *)
TakeAnswer(p, lane, echo, of) ==
    LET meant == Meant(p, lane, echo) IN
    IF meant = {} THEN p
    ELSE LET n == First(meant)
             word == CASE p.stage[n] = "abandoned" -> p.told[n]
                       [] of \in {n, 0} -> "answered"
                       [] OTHER -> "misled"
         IN  Finish(p, n, word)

ProxyTakes(p, f, now) ==
    CASE p.phase = "awaitingOffer" /\ f = Offer -> [p EXCEPT !.phase = "deciding"]
      [] p.phase = "awaitingAnswer" /\ f = Yes -> ProxyOpens(p)
      [] p.phase = "awaitingAnswer" /\ f = No -> ProxyCloses(p, "refused")
      [] Opening(p) /\ ~(p.phase = "awaitingOffer" /\ f = Offer)
                    /\ ~(p.phase = "awaitingAnswer" /\ f \in {Yes, No}) ->
            ProxyCloses(p, "violation")                          \* H-ORDER-1
      [] Open(p) /\ f[1] = "answer" -> ProxyReviews(TakeAnswer(p, f[2], f[3], f[4]), now)
      [] Open(p) /\ f = PauseFrame -> [p EXCEPT !.paused = TRUE] \* F-PAUSE-1
      [] Open(p) /\ f = ResumeFrame -> [p EXCEPT !.paused = FALSE]
      [] Open(p) /\ f[1] = "pauseOf" -> [p EXCEPT !.pausedLanes = @ \cup {f[2]}]
      [] Open(p) /\ f[1] = "resumeOf" -> [p EXCEPT !.pausedLanes = @ \ {f[2]}]
      [] Open(p) /\ f[1] = "room" -> [p EXCEPT !.window = Least(Window, f[2])]
      [] Open(p) /\ f = Draining -> ProxyDrains(p, "peer", now + DrainTicks, now)
      [] OTHER -> ProxyCloses(p, "violation")                    \* H-ORDER-2, W-TYPE-3

RECURSIVE Expire(_, _)
Expire(p, now) ==                                                \* X-TIME-1
    LET late == {n \in Pending(p) : p.due[n] <= now} IN
    IF late = {} THEN p ELSE Expire(GiveUp(p, First(late), "expired", "timedOut"), now)

ProxyAgesTo(p, now) ==
    IF Opening(p)
    THEN IF HandshakeTicks <= now THEN ProxyCloses(p, "handshakeDeadline") ELSE p
    ELSE ProxyReviews(Expire(p, now), now)

------------------------------------------------------------------------------
(* The agent.                                                                   *)

Has(a) == {n \in Exchanges : a.work[n] \in {"waiting", "skipped", "running", "told"}}
Busy(a) == {n \in Exchanges : a.work[n] \in {"running", "told"}}

AgentOpens(a) == [a EXCEPT !.phase = "open", !.opened = TRUE]

AgentCloses(a, why) ==
    [a EXCEPT !.phase = "closed", !.why = why, !.deadline = Never, !.pausing = FALSE,
              !.out = LeftToWrite(a, why),
              !.work = [n \in Exchanges |-> IF a.work[n] = "no" THEN "no" ELSE "gone"]]

(* X-ORDER-1: the first of each request goes to the application while there is  *)
(* room. C-CANCEL-4: one that was cancelled before that needs none.             *)
RECURSIVE Turns(_)
Turns(a) ==
    LET heads == {n \in Has(a) : \A m \in Has(a) : Lane[m] = Lane[n] => n <= m}
        next == {n \in heads : \/ a.work[n] = "skipped"
                               \/ a.work[n] = "waiting" /\ Cardinality(Busy(a)) < Running}
    IN  IF next = {} THEN a
        ELSE LET n == First(next) IN
             Turns(IF a.work[n] = "skipped"
                   THEN [a EXCEPT !.work[n] = "gone", !.out = Append(@, Answering(n, 0))]
                   ELSE [a EXCEPT !.work[n] = "running"])

Signals(a) ==                                                    \* F-AGENT-1
    LET backlog == Cardinality(Has(a)) IN
    CASE ~a.pausing /\ backlog >= High -> [a EXCEPT !.pausing = TRUE, !.out = Append(@, PauseFrame)]
      [] a.pausing /\ backlog <= Low -> [a EXCEPT !.pausing = FALSE, !.out = Append(@, ResumeFrame)]
      [] OTHER -> a

Advance(a) == Signals(Turns(a))

(* C-CANCEL-3: one event, or all that its request has.                          *)
TakeCancel(a, lane, echo) ==
    LET meant(n) == Lane[n] = lane /\ echo \in {0, n} IN
    [a EXCEPT !.work = [n \in Exchanges |->
        CASE meant(n) /\ a.work[n] = "waiting" -> "skipped"
          [] meant(n) /\ a.work[n] = "running" -> "told"
          [] OTHER -> a.work[n]]]

AgentReviews(a, now) ==                                          \* C-DRAIN-2, no linger
    CASE a.phase = "draining" /\ Has(a) = {} -> AgentCloses(a, "drained")
      [] a.phase = "draining" /\ Has(a) # {} /\ a.deadline <= now -> AgentCloses(a, "drainDeadline")
      [] OTHER -> a

AgentTakes(a, f) ==
    CASE a.phase = "awaitingOffer" /\ f = Offer -> [a EXCEPT !.phase = "deciding"]
      [] a.phase = "awaitingAnswer" /\ f = Yes -> AgentOpens(a)
      [] a.phase = "awaitingAnswer" /\ f = No -> AgentCloses(a, "refused")
      [] Open(a) /\ f[1] = "event" -> Advance([a EXCEPT !.work[f[2]] = "waiting"])
      [] Open(a) /\ f[1] = "cancel" -> Advance(TakeCancel(a, f[2], f[3]))
      [] OTHER -> AgentCloses(a, "violation")

AgentAgesTo(a, now) ==
    IF Opening(a)
    THEN IF HandshakeTicks <= now THEN AgentCloses(a, "handshakeDeadline") ELSE a
    ELSE AgentReviews(a, now)

------------------------------------------------------------------------------
(* Actions. Who has ended reads no more.                                        *)

Becomes(p, a, ta, tp) ==
    /\ proxy' = p
    /\ agent' = a
    /\ toAgent' = IF Closed(a) THEN Abandoned ELSE ta
    /\ toProxy' = IF Closed(p) THEN Abandoned ELSE tp

Quiet == UNCHANGED <<clock, said, budget, cancels>>

Init ==
    /\ clock = 0
    /\ proxy = [phase |-> IF AgentDials THEN "awaitingOffer" ELSE "awaitingAnswer",
                why |-> "none", opened |-> FALSE, cause |-> "none", deadline |-> Never,
                stage |-> [n \in Exchanges |-> "planned"], told |-> [n \in Exchanges |-> "no"],
                due |-> [n \in Exchanges |-> Never],
                window |-> 0, paused |-> FALSE, pausedLanes |-> {}, stalled |-> FALSE,
                out |-> IF AgentDials THEN <<>> ELSE <<Offer>>]
    /\ agent = [phase |-> IF AgentDials THEN "awaitingAnswer" ELSE "awaitingOffer",
                why |-> "none", opened |-> FALSE, deadline |-> Never,
                work |-> [n \in Exchanges |-> "no"], pausing |-> FALSE,
                out |-> IF AgentDials THEN <<Offer>> ELSE <<>>]
    /\ toAgent = Fresh
    /\ toProxy = Fresh
    /\ said = [paused |-> FALSE, lanes |-> {}, room |-> Never]
    /\ budget = Budget
    /\ cancels = [n \in Exchanges |-> 0]

(* Which exchange a Cancel is for: the one it names, or the last of its request *)
(* that was written.                                                            *)
Written(p, n) == n \in OnWire(p) \/ p.told[n] \in {"answered", "misled", "timedOut", "abandoned", "lostWritten"}
Target(p, lane, echo) ==
    IF echo # 0 THEN echo ELSE Last({n \in Exchanges : Lane[n] = lane /\ Written(p, n)})

(* Control frames go first (F-PAUSE-1: whatever the gate), then an event.       *)
ProxyWrites ==
    /\ UNCHANGED <<clock, said, budget>>
    /\ \/ /\ proxy.out # <<>>
          /\ LET f == Head(proxy.out) IN
             /\ Becomes([proxy EXCEPT !.out = Tail(@)], agent, Put(toAgent, f), toProxy)
             /\ cancels' = IF f[1] = "cancel"
                           THEN [cancels EXCEPT ![Target(proxy, f[2], f[3])] = @ + 1]
                           ELSE cancels
       \/ /\ proxy.out = <<>> /\ Writable(proxy) # {}
          /\ LET n == First(Writable(proxy)) IN
             Becomes([proxy EXCEPT !.stage[n] = "inFlight"], agent, Put(toAgent, Event(n)), toProxy)
          /\ UNCHANGED cancels
       \/ /\ proxy.out = <<>> /\ Closed(proxy) /\ toAgent.flowing = "on"
          /\ Becomes(proxy, agent, End(toAgent), toProxy)
          /\ UNCHANGED cancels

AgentWrites ==
    /\ Quiet
    /\ \/ /\ agent.out # <<>>
          /\ Becomes(proxy, [agent EXCEPT !.out = Tail(@)], toAgent, Put(toProxy, Head(agent.out)))
       \/ /\ agent.out = <<>> /\ Closed(agent) /\ toProxy.flowing = "on"
          /\ Becomes(proxy, agent, toAgent, End(toProxy))

AgentReads ==
    /\ Readable(toAgent)
    /\ LET a == CASE toAgent.frames # <<>> -> AgentTakes(agent, Head(toAgent.frames))
                  [] toAgent.frames = <<>> /\ toAgent.flowing = "broken" -> AgentCloses(agent, "transportLost")
                  [] OTHER -> AgentCloses(agent, IF agent.phase = "draining" /\ Has(agent) = {}
                                                 THEN "drained" ELSE "peerClosed")
       IN  Becomes(proxy, a, Rest(toAgent), toProxy)
    /\ Quiet

ProxyReads ==
    /\ Readable(toProxy)
    /\ LET p == CASE toProxy.frames # <<>> -> ProxyTakes(proxy, Head(toProxy.frames), clock)
                  [] toProxy.frames = <<>> /\ toProxy.flowing = "broken" -> ProxyCloses(proxy, "transportLost")
                  [] OTHER -> ProxyCloses(proxy, "peerClosed")
       IN  Becomes(p, agent, toAgent, Rest(toProxy))
    /\ Quiet

(* H-ORDER-1, H-REFUSE-1: whoever was dialled decides.                          *)
Accept ==
    /\ \/ /\ proxy.phase = "deciding"
          /\ Becomes(ProxyOpens([proxy EXCEPT !.out = Append(@, Yes)]), agent, toAgent, toProxy)
       \/ /\ agent.phase = "deciding"
          /\ Becomes(proxy, AgentOpens([agent EXCEPT !.out = Append(@, Yes)]), toAgent, toProxy)
    /\ Quiet

Reject ==
    /\ "reject" \in Powers
    /\ \/ /\ proxy.phase = "deciding"
          /\ Becomes(ProxyCloses([proxy EXCEPT !.out = Append(@, No)], "rejected"), agent, toAgent, toProxy)
       \/ /\ agent.phase = "deciding"
          /\ Becomes(proxy, AgentCloses([agent EXCEPT !.out = Append(@, No)], "rejected"), toAgent, toProxy)
    /\ Quiet

(* X-ONCE-1: every event that the application has is answered once.             *)
Answer(n) ==
    /\ n \in Busy(agent)
    /\ LET done == [agent EXCEPT !.work[n] = "gone", !.out = Append(@, Answering(n, n))]
       IN  Becomes(proxy, AgentReviews(Advance(done), clock), toAgent, toProxy)
    /\ Quiet

Submit ==
    /\ proxy.phase = "open"                                      \* H-ORDER-2, C-DRAIN-1
    /\ Cardinality(Queued(proxy)) < Queue                        \* F-WAIT-1
    /\ \E n \in Exchanges : proxy.stage[n] = "planned"
    /\ LET n == First({m \in Exchanges : proxy.stage[m] = "planned"})
           due == IF Within[n] = 0 THEN Never ELSE clock + Within[n]
       IN  Becomes([proxy EXCEPT !.stage[n] = "queued", !.due[n] = due], agent, toAgent, toProxy)
    /\ Quiet

Cancel(n) ==                                                     \* C-CANCEL-1
    /\ "cancel" \in Powers
    /\ n \in Pending(proxy)
    /\ LET p == GiveUp(proxy, n, "withdrawn", "abandoned")
       IN  Becomes(ProxyReviews(p, clock), agent, toAgent, toProxy)
    /\ Quiet

DrainProxy ==                                                    \* C-DRAIN-1
    /\ "drainProxy" \in Powers
    /\ ~Closed(proxy) /\ proxy.phase # "draining" /\ clock + DrainTicks <= Ticks
    /\ Becomes(ProxyDrains(proxy, "local", clock + DrainTicks, clock), agent, toAgent, toProxy)
    /\ Quiet

DrainAgent ==                                                    \* C-DRAIN-2
    /\ "drainAgent" \in Powers
    /\ ~Closed(agent) /\ agent.phase # "draining" /\ clock + DrainTicks <= Ticks
    /\ LET a == IF Opening(agent) THEN AgentCloses(agent, "drained")
                ELSE AgentReviews([agent EXCEPT !.phase = "draining", !.deadline = clock + DrainTicks,
                                                !.out = Append(@, Draining)], clock)
       IN  Becomes(proxy, a, toAgent, toProxy)
    /\ Quiet

CloseProxy ==
    /\ "close" \in Powers /\ ~Closed(proxy)
    /\ Becomes(ProxyCloses(proxy, "closed"), agent, toAgent, toProxy)
    /\ Quiet

CloseAgent ==
    /\ "close" \in Powers /\ ~Closed(agent)
    /\ Becomes(proxy, AgentCloses(agent, "closed"), toAgent, toProxy)
    /\ Quiet

Sever ==
    /\ "sever" \in Powers
    /\ toAgent.flowing = "on" \/ toProxy.flowing = "on"
    /\ Becomes(proxy, agent, Break(toAgent), Break(toProxy))
    /\ Quiet

EndToAgent ==
    /\ "halfClose" \in Powers /\ toAgent.flowing = "on"
    /\ Becomes(proxy, agent, End(toAgent), toProxy)
    /\ Quiet

EndToProxy ==
    /\ "halfClose" \in Powers /\ toProxy.flowing = "on"
    /\ Becomes(proxy, agent, toAgent, End(toProxy))
    /\ Quiet

Stall ==                                                         \* F-MARK-1
    /\ "stall" \in Powers /\ Open(proxy) /\ ~proxy.stalled
    /\ Becomes([proxy EXCEPT !.stalled = TRUE], agent, toAgent, toProxy)
    /\ Quiet

Unstall ==
    /\ proxy.stalled
    /\ Becomes([proxy EXCEPT !.stalled = FALSE], agent, toAgent, toProxy)
    /\ Quiet

Tick ==
    /\ clock < Ticks /\ ~(Closed(proxy) /\ Closed(agent))
    /\ clock' = clock + 1
    /\ Becomes(ProxyAgesTo(proxy, clock + 1), AgentAgesTo(agent, clock + 1), toAgent, toProxy)
    /\ UNCHANGED <<said, budget, cancels>>

(* What the agent's author says about flow, of himself. What he paused he       *)
(* resumes in the end, as far as the stream goes.                               *)
Speaks(f) ==
    /\ agent.opened /\ toProxy.flowing = "on"
    /\ Becomes(proxy, agent, toAgent, Put(toProxy, f))
    /\ UNCHANGED <<clock, cancels>>

Spends == budget > 0 /\ budget' = budget - 1

Pause ==
    /\ "pause" \in Powers /\ ~said.paused
    /\ Spends /\ Speaks(PauseFrame) /\ said' = [said EXCEPT !.paused = TRUE]

PauseRequest(l) ==
    /\ l \in PauseLanes \ said.lanes
    /\ Spends /\ Speaks(PauseOf(l)) /\ said' = [said EXCEPT !.lanes = @ \cup {l}]

Capacity(k) ==
    /\ said.room # k
    /\ Spends /\ Speaks(Room(k)) /\ said' = [said EXCEPT !.room = k]

Resume ==
    /\ said.paused
    /\ Speaks(ResumeFrame) /\ said' = [said EXCEPT !.paused = FALSE] /\ UNCHANGED budget

ResumeRequest(l) ==
    /\ l \in said.lanes
    /\ Speaks(ResumeOf(l)) /\ said' = [said EXCEPT !.lanes = @ \ {l}] /\ UNCHANGED budget

Restore ==
    /\ said.room < Window
    /\ Speaks(Room(Window)) /\ said' = [said EXCEPT !.room = Window] /\ UNCHANGED budget

(* What goes on by itself as long as drivers, applications and transport do     *)
(* their part, time passes, and the agent takes back what holds events up.      *)
GoesOn ==
    \/ ProxyWrites \/ AgentWrites \/ AgentReads \/ ProxyReads \/ Accept
    \/ \E n \in Exchanges : Answer(n)
    \/ Resume \/ Restore \/ Tick
    \/ \E l \in PauseLanes : ResumeRequest(l)

Next ==
    \/ GoesOn
    \/ Unstall
    \/ Submit
    \/ \E n \in Exchanges : Cancel(n)
    \/ DrainProxy \/ DrainAgent \/ CloseProxy \/ CloseAgent \/ Reject
    \/ Sever \/ EndToAgent \/ EndToProxy \/ Stall
    \/ Pause
    \/ \E l \in PauseLanes : PauseRequest(l)
    \/ \E k \in Rooms : Capacity(k)

(* Of all this, while some of it can happen again and again, some of it does: not *)
(* each, so that no order is assumed. Strong, since a socket that stalls again   *)
(* and again would else be allowed to take no byte for ever.                     *)
Fair == SF_vars(GoesOn) /\ WF_vars(Unstall)

Spec == Init /\ [][Next]_vars /\ Fair
=============================================================================
