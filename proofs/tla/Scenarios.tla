------------------------------ MODULE Scenarios ------------------------------
(* Values that a configuration file cannot spell.                               *)
EXTENDS Properties

A == <<"a">>
AA == <<"a", "a">>
AB == <<"a", "b">>
AAB == <<"a", "a", "b">>
AAA == <<"a", "a", "a">>
AABB == <<"a", "a", "b", "b">>
Patient == <<0, 0, 0, 0>>
Hasty == <<1, 1, 1, 1>>
Mixed == <<1, 2, 0, 0>>
=============================================================================
