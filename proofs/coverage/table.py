"""Prints how many lines and branches of the wire and the machines were reached, without their test modules.

A branch is one outcome of a condition in the source; arms of a match are lines and no branches. Where a
generic function was built for several types, a branch is reached if it was in any of them. Fails below the
floors: what is not reached then is new.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

FOLDERS = ("src/wire", "src/machine")
# Per cent. What the tests can't reach is what the types demand and the state excludes.
FLOOR_LINES = 99.5
FLOOR_BRANCHES = 93.0


def code_length(path: Path) -> int:
    """Lines before the module of tests."""
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines):
        if line == "#[cfg(test)]" and lines[number + 1].startswith("mod "):
            return number
    return len(lines)


def read_branches(path: Path) -> dict[str, dict[tuple[int, int, str], bool]]:
    """Per file: line, column and outcome of each branch, and whether it was reached."""
    found: dict[str, dict[tuple[int, int, str], bool]] = defaultdict(dict)
    for file in json.loads(path.read_text())["data"][0]["files"]:
        outcomes = found[file["filename"]]
        for line, column, _, _, true, false, *_ in file["branches"]:
            for outcome, count in (("true", true), ("false", false)):
                key = (line, column, outcome)
                outcomes[key] = outcomes.get(key, False) or count > 0
    return found


def read_lines(path: Path) -> dict[str, dict[int, bool]]:
    """Per file: each line that holds code, and whether it was reached."""
    found: dict[str, dict[int, bool]] = defaultdict(dict)
    name = ""
    for record in path.read_text().splitlines():
        tag, _, value = record.partition(":")
        if tag == "SF":
            name = value
        elif tag == "DA":
            line, count = value.split(",")[:2]
            found[name][int(line)] = found[name].get(int(line), False) or int(count) > 0
    return found


def per_cent(reached: int, of: int) -> float:
    return 100 * reached / of if of else 100


def share(reached: int, of: int) -> str:
    return f"{reached:5} of {of:5} {per_cent(reached, of):6.2f} %"


def main() -> None:
    branches, lines = read_branches(Path(sys.argv[1])), read_lines(Path(sys.argv[2]))
    root, name_missed = Path(sys.argv[3]).resolve(), "--missed" in sys.argv[4:]
    print(f"{'':40} {'lines':>23} {'branches':>23}")
    totals = defaultdict(lambda: [0, 0, 0, 0])
    for path in sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.rs")):
        if path.name == "tests.rs":
            continue
        end = code_length(path)
        of_lines = {line: hit for line, hit in lines[str(path)].items() if line <= end}
        of_branches = {key: hit for key, hit in branches[str(path)].items() if key[0] <= end}
        row = [sum(of_lines.values()), len(of_lines), sum(of_branches.values()), len(of_branches)]
        name = str(path.relative_to(root))
        print(f"{name:40} {share(*row[:2])} {share(*row[2:])}")
        if name_missed:
            missed = [f"{line}" for line, hit in sorted(of_lines.items()) if not hit]
            unreached = sorted(key for key, hit in of_branches.items() if not hit)
            missed += [f"{line}:{column} never {outcome}" for line, column, outcome in unreached]
            print("".join(f"    {place}\n" for place in missed), end="")
        for key in ("/".join(name.split("/")[:2]), "both"):
            totals[key] = [have + more for have, more in zip(totals[key], row)]
    both = totals.pop("both")
    for key, row in [*totals.items(), ("both", both)]:
        print(f"{key:40} {share(*row[:2])} {share(*row[2:])}")
    if per_cent(*both[:2]) < FLOOR_LINES or per_cent(*both[2:]) < FLOOR_BRANCHES:
        sys.exit(f"below the floors: {FLOOR_LINES} % of the lines, {FLOOR_BRANCHES} % of the branches")


main()
