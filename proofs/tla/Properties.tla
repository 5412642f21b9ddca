----------------------------- MODULE Properties -----------------------------
(* What must be true of every run of the protocol, by the names that the       *)
(* library's tests use. P1 to P9 as far as they speak of what is specified.     *)
EXTENDS Dialback

Count(s, type) == Len(SelectSeq(s, LAMBDA f : f[1] = type))
Writes(n) == proxy.stage[n] = "queued" /\ proxy'.stage[n] = "inFlight"

(* Exactly once: who is told the end is told no other, and all are at the end.  *)
P1 ==
    /\ \A n \in Exchanges : proxy.told[n] = "no" <=> proxy.stage[n] \in {"planned", "queued", "inFlight"}
    /\ Closed(proxy) => Pending(proxy) = {}
P1Once == [][\A n \in Exchanges : proxy.told[n] # "no" => proxy'.told[n] = proxy.told[n]]_vars

(* No misattribution.                                                           *)
P2 ==
    /\ \A n \in Exchanges : proxy.told[n] # "misled"
    /\ ~Exact => \A m, n \in OnWire(proxy) : Lane[m] = Lane[n] => m = n

(* Order: of each request in writing, on the way, and in the agent's hands.     *)
P3 ==
    /\ \A i, j \in 1..Len(toAgent.frames) :
        LET f == toAgent.frames[i]
            g == toAgent.frames[j]
        IN  (i < j /\ f[1] = "event" /\ g[1] = "event") => (Lane[f[2]] = Lane[g[2]] => f[2] < g[2])
    /\ \A m \in Busy(agent), n \in Has(agent) : Lane[m] = Lane[n] => m <= n
P3Writing == [][\A n \in Exchanges : Writes(n) => \A m \in Queued(proxy) : Lane[m] = Lane[n] => n <= m]_vars

(* Window: never exceeded, and every slot is somewhere.                         *)
P4 ==
    /\ Cardinality(OnWire(proxy)) <= Window
    /\ (Open(proxy) /\ Open(agent) /\ toAgent.flowing = "on" /\ toProxy.flowing = "on") =>
        Cardinality(OnWire(proxy)) = Count(toAgent.frames, "event") + Cardinality(Has(agent))
                                     + Count(agent.out, "answer") + Count(toProxy.frames, "answer")
P4Writing == [][(\E n \in Exchanges : Writes(n)) => Cardinality(OnWire(proxy)) < proxy.window]_vars

(* Pause: nothing is written between a pause and its resume.                    *)
P5 == [][\A n \in Exchanges : Writes(n) => ~proxy.paused /\ Lane[n] \notin proxy.pausedLanes]_vars

(* Cancel: at most one, and only for an exchange in flight that was given up.   *)
P6 ==
    \A n \in Exchanges :
        /\ cancels[n] <= 1
        /\ cancels[n] = 1 => proxy.told[n] \in {"abandoned", "timedOut", "lostWritten"}
        /\ cancels[n] = 1 => Cancellation

(* Handshake: first, once, in time, and nothing before it.                      *)
P7 ==
    /\ ~proxy.opened => \A n \in Exchanges : proxy.stage[n] = "planned"
    /\ ~agent.opened => \A n \in Exchanges : agent.work[n] = "no"
    /\ clock >= HandshakeTicks => ~Opening(proxy) /\ ~Opening(agent)
    /\ (Opening(agent) /\ toAgent.frames # <<>>) => Head(toAgent.frames) \in {Offer, Yes, No}
P7Once == [][(proxy.opened => proxy'.opened) /\ (agent.opened => agent'.opened)]_vars

(* Close: for one reason, for good.                                             *)
P8 == (Closed(proxy) <=> proxy.why # "none") /\ (Closed(agent) <=> agent.why # "none")
P8Last == [][/\ Closed(proxy) => proxy'.why = proxy.why /\ proxy'.told = proxy.told /\ Closed(proxy')
             /\ Closed(agent) => agent'.why = agent.why /\ agent'.work = agent.work /\ Closed(agent')]_vars

(* Drain: nothing is admitted, nothing waits, the deadline holds.               *)
P9 ==
    /\ proxy.phase = "draining" => Queued(proxy) = {} /\ OnWire(proxy) # {} /\ clock < proxy.deadline
    /\ agent.phase = "draining" => Has(agent) # {} /\ clock < agent.deadline
P9Admits == [][\A n \in Exchanges : proxy'.stage[n] = "queued" => proxy'.phase = "open"]_vars

(* What comes in the end.                                                       *)
Resolves == \A n \in Exchanges : n \in Pending(proxy) ~> n \notin Pending(proxy)
Settles == \A n \in Exchanges : n \in OnWire(proxy) ~> n \notin OnWire(proxy)
Opens == Opening(proxy) ~> ~Opening(proxy)
DrainEnds == (proxy.phase = "draining" ~> Closed(proxy)) /\ (agent.phase = "draining" ~> Closed(agent))
Closes == (Closed(proxy) ~> Closed(agent)) /\ (Closed(agent) ~> Closed(proxy))

(* All of it follows from this, which costs the model checker a tenth.          *)
AtRest ==
    /\ OnWire(proxy) = {} /\ Queued(proxy) = {}
    /\ ~Opening(proxy) /\ ~Opening(agent)
    /\ proxy.phase # "draining" /\ agent.phase # "draining"
    /\ Closed(proxy) <=> Closed(agent)
Rests == <>[]AtRest
=============================================================================
