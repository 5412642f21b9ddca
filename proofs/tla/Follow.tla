------------------------------- MODULE Follow -------------------------------
(* Follows a run of the real machines. A step that the specification does not   *)
(* allow is a deadlock; so the run is accepted if there is none.                *)
EXTENDS Properties

CONSTANT Run          \* the states of the run, and the actions that led to them

VARIABLE at           \* how far it has been followed

Is(s) ==
    /\ clock = s.clock /\ proxy = s.proxy /\ agent = s.agent /\ toAgent = s.toAgent
    /\ toProxy = s.toProxy /\ said = s.said /\ budget = s.budget /\ cancels = s.cancels
Becoming(s) ==
    /\ clock' = s.clock /\ proxy' = s.proxy /\ agent' = s.agent /\ toAgent' = s.toAgent
    /\ toProxy' = s.toProxy /\ said' = s.said /\ budget' = s.budget /\ cancels' = s.cancels

Named(action) ==
    CASE action = "ProxyWrites" -> ProxyWrites
      [] action = "AgentWrites" -> AgentWrites
      [] action = "AgentReads" -> AgentReads
      [] action = "ProxyReads" -> ProxyReads
      [] action = "Accept" -> Accept
      [] action = "Answer" -> \E n \in Exchanges : Answer(n)
      [] action = "Submit" -> Submit
      [] action = "Cancel" -> \E n \in Exchanges : Cancel(n)
      [] action = "DrainProxy" -> DrainProxy
      [] action = "DrainAgent" -> DrainAgent
      [] action = "CloseProxy" -> CloseProxy
      [] action = "CloseAgent" -> CloseAgent
      [] action = "Reject" -> Reject
      [] action = "Sever" -> Sever
      [] action = "EndToAgent" -> EndToAgent
      [] action = "EndToProxy" -> EndToProxy
      [] action = "Stall" -> Stall
      [] action = "Unstall" -> Unstall
      [] action = "Tick" -> Tick
      [] action = "Pause" -> Pause
      [] action = "PauseRequest" -> \E l \in PauseLanes : PauseRequest(l)
      [] action = "Capacity" -> \E k \in Rooms : Capacity(k)
      [] action = "Resume" -> Resume
      [] action = "ResumeRequest" -> \E l \in PauseLanes : ResumeRequest(l)
      [] action = "Restore" -> Restore

Begin == at = 1 /\ Is(Run[1].state) /\ Init

Go ==
    \/ /\ at < Len(Run)
       /\ at' = at + 1
       /\ Becoming(Run[at + 1].state)
       /\ Named(Run[at + 1].action)
    \/ at = Len(Run) /\ UNCHANGED <<at, vars>>
=============================================================================
