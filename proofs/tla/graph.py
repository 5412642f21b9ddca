"""Turns the graph that TLC dumps into the text that the tests read, in an order of its own.

    graph.py DUMP.dot > GRAPH

First the shape of a state, that is the names of variables and fields that the states leave out; then the
number of the first state; then each state with its steps as `Action>number`, states sorted by their text.
"""

import re
import sys
from typing import Any

TOKEN = re.compile(r'\s*(<<|>>|\|->|/\\|[\[\]{},=]|"[^"]*"|\w+)')
STATE = re.compile(r'^(-?\d+) \[label="(.*?)"(,style = filled)?\];?$')
STEP = re.compile(r'^(-?\d+) -> (-?\d+) \[label="(\w+)"')


class Parser:
    """Reads one state: `/\\ variable = value`, as often as there are variables."""

    def __init__(self, text: str) -> None:
        self.tokens = TOKEN.findall(text)
        self.at = 0

    def take(self, expected: str | None = None) -> str:
        token = self.tokens[self.at]
        if expected is not None and token != expected:
            raise ValueError(f"{expected} expected, not {token}")
        self.at += 1
        return token

    def state(self) -> dict[str, Any]:
        variables = {}
        while self.at < len(self.tokens):
            self.take("/\\")
            name = self.take()
            self.take("=")
            variables[name] = self.value()
        return variables

    def value(self) -> Any:
        token = self.take()
        if token == "<<":
            return self.items(">>", self.value)
        if token == "{":
            return frozenset(self.items("}", self.value))
        if token == "[":
            return dict(self.items("]", self.field))
        if token.startswith('"'):
            return token[1:-1]
        if token in ("TRUE", "FALSE"):
            return token == "TRUE"
        return int(token)

    def field(self) -> tuple[str, Any]:
        key = self.take()
        self.take("|->")
        return key, self.value()

    def items(self, close: str, read: Any) -> list[Any]:
        found = []
        while self.tokens[self.at] != close:
            if found:
                self.take(",")
            found.append(read())
        self.take(close)
        return found


def compact(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, dict):
        return "(" + ",".join(compact(value[key]) for key in sorted(value)) + ")"
    if isinstance(value, list):
        return "[" + ",".join(map(compact, value)) + "]"
    if isinstance(value, frozenset):
        return "{" + ",".join(sorted(map(compact, value))) + "}"
    return str(value)


def shape(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ",".join(key + shape(value[key]) for key in sorted(value)) + ")"
    return ""


def main() -> None:
    states: dict[str, str] = {}
    steps: set[tuple[str, str, str]] = set()
    first, keys = "", ""
    with open(sys.argv[1], encoding="utf-8") as dump:
        for line in dump:
            if found := STATE.match(line.rstrip()):
                name, label, initial = found.groups()
                parsed = Parser(label.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")).state()
                states[name] = compact(parsed)
                if initial:
                    first, keys = name, shape(parsed)
            elif found := STEP.match(line):
                steps.add((found[1], found[3], found[2]))
            elif "label" in line:
                raise ValueError(f"not understood: {line}")
    if len(set(states.values())) != len(states):
        raise ValueError("two states have the same text")
    order = sorted(states, key=lambda name: states[name])
    number = {name: at for at, name in enumerate(order)}
    out: dict[str, list[tuple[str, int]]] = {name: [] for name in order}
    for source, action, target in steps:
        out[source].append((action, number[target]))
    print("shape", keys)
    print("initial", number[first])
    for name in order:
        print(" ".join([states[name]] + [f"{action}>{target}" for action, target in sorted(out[name])]))


if __name__ == "__main__":
    main()
