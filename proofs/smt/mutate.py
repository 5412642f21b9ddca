"""The test of the proof: every row of every table, changed to every other value it might have had.

The proof must fail for each, but for those argued in `survivors.txt`: changes after which the claims
still hold, with the reason. The list must be exact in both directions.
"""

import time
from collections import Counter
from pathlib import Path

from obligations import PARTS, ROW_BY_ROW, NotProved, Obligation, rows_read
from tables import BACKPRESSURE, DRAIN, EXCHANGE, GATE, INBOX, LANE_GATE, Key, Tables

USED = [EXCHANGE, GATE, LANE_GATE, INBOX, BACKPRESSURE, DRAIN]
SURVIVORS = Path(__file__).with_name("survivors.txt")


def title(key: Key, value: str) -> str:
    name, inputs = key
    return f"{name} {' x '.join(inputs)} -> {value}"


def argued() -> dict[str, str]:
    """Lines of `change`, each under a comment that gives the reason."""
    reason, result = "", {}
    previous_was_comment = False
    for line in SURVIVORS.read_text().splitlines():
        if line.startswith("#"):
            text = line.lstrip("# ")
            reason = f"{reason} {text}" if previous_was_comment else text
            previous_was_comment = True
        else:
            previous_was_comment = False
            if line.strip():
                assert reason, f"no reason is given for: {line}"
                result[line.strip()] = reason
    return result


def first_to_fail(tables: Tables, parts: list[str]) -> Obligation | None:
    for part in parts:
        try:
            PARTS[part](tables)
        except NotProved as failure:
            return failure.obligation
    return None


def mutate(tables: Tables, verbose: bool) -> bool:
    began = time.monotonic()
    read = {part: rows_read(part, tables) for part in PARTS}
    unread = [
        (name, inputs)
        for name in USED
        for inputs in tables.tables[name].rows
        if not any((name, inputs) in rows for rows in read.values())
    ]
    survivors, count = [], 0
    refuted: Counter[str] = Counter()  # by part: who refuted most is asked first
    for key, value in tables.every_change(USED):
        count += 1
        parts = [part for part, rows in read.items() if key in rows]
        parts.sort(key=lambda part: (part == ROW_BY_ROW, -refuted[part]))
        failed = first_to_fail(tables.changed(key, value), parts)
        if failed is None:
            survivors.append(title(key, value))
        else:
            refuted[failed.step] += 1
        if verbose:
            by = f"{failed.step} => {failed.name}" if failed else "STILL PROVED"
            print(f"{title(key, value)}: {by}", flush=True)
    expected = argued()
    surprising = [line for line in survivors if line not in expected]
    stale = [line for line in expected if line not in survivors]
    for line in surprising:
        print(f"STILL PROVED, and no reason given: {line}")
    for line in stale:
        print(f"argued in {SURVIVORS.name}, but the proof fails: {line}")
    for name, inputs in unread:
        print(f"NOT READ by any step: {name} {' x '.join(inputs)}")
    took = time.monotonic() - began
    good = len(survivors) - len(surprising)
    print(f"single-row changes: {count}, refuted {count - len(survivors)}, argued {good}; {took:.1f} s")
    print(f"refuted only by the reason that a caller is told of a gate: {refuted[ROW_BY_ROW]}")
    return not (surprising or stale or unread)
