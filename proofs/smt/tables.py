"""The decision tables, as the Rust code prints them (`cargo run -p dialback-proofs --bin tables`).

A proof step that asks a table does it through `Tables`, which remembers who read which row. So a
changed row (see mutate.py) costs only the proofs of the steps that read it.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

EXCHANGE = "exchange::step"
GATE = "flow::gate"
LANE_GATE = "correlation::lane_gate"
INBOX = "inbox::step"
BACKPRESSURE = "inbox::backpressure"
DRAIN = "closing::drain_step"

Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Table:
    values: list[str]
    rows: dict[tuple[str, ...], str]


class Tables:
    def __init__(self, tables: dict[str, Table]):
        self.tables = tables
        self.read: set[Key] = set()

    @staticmethod
    def load(path: Path) -> "Tables":
        raw = json.loads(path.read_text())
        tables = {}
        for name, table in raw.items():
            rows = {tuple(inputs): result for inputs, result in table["rows"]}
            assert len(rows) == len(table["rows"]), f"{name} has a row twice"
            tables[name] = Table(table["values"], rows)
        return Tables(tables)

    def ask(self, name: str, *inputs: str) -> str:
        """A missing row is an error: the tables must be total."""
        self.read.add((name, inputs))
        return self.tables[name].rows[inputs]

    def all(self, name: str):
        """Every row with what stands in the brackets of its result."""
        for inputs in self.tables[name].rows:
            yield inputs, split(self.ask(name, *inputs))[1]

    def changed(self, key: Key, value: str) -> "Tables":
        name, inputs = key
        table = self.tables[name]
        assert inputs in table.rows
        return Tables({**self.tables, name: Table(table.values, {**table.rows, inputs: value})})

    def every_change(self, names: list[str]):
        """Every row of these tables with every other value it might have had."""
        for name in names:
            table = self.tables[name]
            for inputs, value in table.rows.items():
                for other in table.values:
                    if other != value:
                        yield (name, inputs), other


def split(value: str) -> tuple[str, str | None]:
    """`Finish(Lost)` into `Finish` and `Lost`; `Stay` into `Stay` and nothing."""
    match = re.fullmatch(r"(\w+)(?:\((\w+)\))?", value)
    assert match, f"not a variant: {value}"
    return match[1], match[2]
