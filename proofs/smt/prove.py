"""Proves the invariant and the claims for any number of exchanges, and checks that the proof says something.

    python prove.py TABLES.json [full] [--verbose]

`full` also tries every changed row. Exit code 1 if anything is not as it should be.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from mutate import mutate
from obligations import PARTS, NotProved, Obligation
from tables import Tables
from vacuity import examine

CLAIMS = {
    "P1": "every admitted exchange is told exactly one end; none is left at the close, or at rest",
    "P2": "an answer ends only the exchange whose event it answers, however late it comes",
    "P4": "no event is written into a full window; slots are held exactly by what is owed an answer",
    "P5": "no event is written between a pause and its resume; what waited flows after it",
    "P6": "at most one Cancel per exchange, behind its event, none for one that waits; it finds its own",
    "P9": "nothing is admitted or written in a drain; it ends when nothing is left, or at its deadline",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("dose", nargs="?", choices=["full"], help="try every changed row as well")
    parser.add_argument("--verbose", action="store_true", help="name every check")
    options = parser.parse_args()
    tables = Tables.load(options.tables)
    began = time.monotonic()

    proved: list[Obligation] = []
    failures = 0
    for part in PARTS.values():
        try:
            obligations = part(tables)
        except NotProved as failure:
            print(failure)
            failures += 1
            continue
        proved += obligations
        if options.verbose:
            for obligation in obligations:
                print(f"proved [{obligation.property}] {obligation.step} => {obligation.name}")
    proving = time.monotonic() - began
    if failures:
        # States that break the invariant say nothing about the rest.
        print(f"{failures} parts of the proof fail")
        return 1

    checks, bad = Counter(), 0
    for property_, ok in examine(tables, options.verbose):
        checks[property_] += 1
        bad += not ok
    examined = time.monotonic() - began - proving

    per_property = Counter(obligation.property for obligation in proved)
    print(
        f"{'':4} {'obligations':>11} {'vacuity':>8}  proved for any number of exchanges and correlation ids"
    )
    for property_, claim in CLAIMS.items():
        print(f"{property_:4} {per_property[property_]:>11} {checks[property_]:>8}  {claim}")
    print(f"{'all':4} {len(proved):>11} {checks.total():>8}  {proving:.1f} s + {examined:.1f} s")
    if bad:
        print(f"{bad} checks on the proof fail")
        return 1
    if options.dose != "full":
        return 0
    return 0 if mutate(tables, options.verbose) else 1


if __name__ == "__main__":
    sys.exit(main())
