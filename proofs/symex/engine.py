"""Symbolic execution of one entry point of the harness: every path, to its end or to a panic."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

# The engine says much, and once as an error that a part of it for other uses is missing. What goes wrong in a
# run is told by the run.
logging.disable(logging.ERROR)

import angr
import claripy
from angr import options as o
from angr.concretization_strategies import SimConcretizationStrategyRange
from angr.engines.vex.claripy import ccall

from shapes import FIELD, Shape

PANIC = "symex_panicked"
WIDTHS = {"u32": 32, "u64": 64}
BYTES_AT = 0x7000_0000
# A symbolic address may stand for this many bytes, each of which is then considered.
ADDRESSES = 4096


def flags_of_unsigned_multiplication(state, nbits, one, other, _, platform=None):
    """The flags of `mul`. The engine's own function takes the upper half of a product for the sign of the
    lower one, and so misses overflows and sees some that are none; the check `engine_multiplies` is about this.
    """
    product = one.zero_extend(nbits) * other.zero_extend(nbits)
    low, high = product[nbits - 1 : 0], product[2 * nbits - 1 : nbits]
    lost = claripy.If(high != 0, claripy.BVV(1, 1), claripy.BVV(0, 1))
    return ccall.pc_make_rdata(
        ccall.data[platform]["size"],
        lost,
        ccall.calc_paritybit(low),
        claripy.BVV(0, 1),
        ccall.calc_zerobit(low),
        low[nbits - 1],
        lost,
        platform=platform,
    )


ccall.pc_actions_UMUL = flags_of_unsigned_multiplication


@dataclass(frozen=True)
class Input:
    """One input of an entry point, with nothing open in it."""

    data: bytes | None
    words: tuple[int, ...]

    def __str__(self) -> str:
        told = [f"[{self.data.hex(' ')}]"] if self.data is not None else []
        return ", ".join([*told, *(f"{word:#x}" for word in self.words)])


@dataclass
class Run:
    """What came of one entry point with one size of its input."""

    paths: int = 0
    outcomes: set[int] = field(default_factory=set)
    counterexample: Input | None = None
    incomplete: str | None = None


class Binary:
    def __init__(self, path: str) -> None:
        self.project = angr.Project(path, auto_load_libs=False, main_opts={"base_addr": 0x400000})
        self.panic = self.address(PANIC)

    def address(self, symbol: str) -> int:
        found = self.project.loader.find_symbol(symbol)
        assert found is not None, f"no entry point {symbol}"
        return found.rebased_addr

    def run(
        self, symbol: str, size: int | None, args: tuple[int | str, ...], shape: Shape | None = None
    ) -> Run:
        """Follows every path of `symbol`. Its input is `size` open bytes, unless that is None, and then
        `args`, where a width stands for an open word. A shape says more of the bytes."""
        run = Run()
        words = [
            claripy.BVS(f"arg{at}", WIDTHS[arg], explicit_name=True) if isinstance(arg, str) else arg
            for at, arg in enumerate(args)
        ]
        given = [widen(word) for word in words]
        data = claripy.BVS("bytes", 8 * size, explicit_name=True) if size else None
        if size is not None:
            given = [BYTES_AT, size, *given]
        state = self.start(symbol, given)
        if data is not None:
            state.memory.store(BYTES_AT, data)
        if shape is not None:
            impose(state, shape)
        manager = self.project.factory.simgr(state, save_unsat=False)
        # Depth first: the paths that are begun and not ended are what takes memory.
        manager.use_technique(angr.exploration_techniques.DFS())
        while manager.active:
            manager.step()
            manager.move("active", "panicked", lambda at: at.addr == self.panic)
            if manager.stashes.get("panicked"):
                run.counterexample = solve(manager.panicked[0], size, words, data)
                break
            for ended in manager.deadended:
                run.paths += 1
                assert ended.addr == self.end, f"a path ends at {ended.addr:#x}, which is no return"
                run.outcomes.update(ended.solver.eval_upto(ended.regs.rax, 64))
            manager.drop(stash="deadended")
            if manager.errored:
                error = manager.errored[0]
                run.incomplete = f"{type(error.error).__name__} at {error.state.addr:#x}: {error.error}"
                break
            if manager.unconstrained:
                run.incomplete = "a jump to anywhere"
                break
        return run

    def start(self, symbol: str, given: list) -> angr.SimState:
        factory = self.project.factory
        state = factory.blank_state(
            addr=self.address(symbol),
            add_options={o.SYMBOL_FILL_UNCONSTRAINED_MEMORY, o.SYMBOL_FILL_UNCONSTRAINED_REGISTERS},
            # One solver for all of a state is faster than one for each group of variables: there are few.
            remove_options={o.COMPOSITE_SOLVER},
        )
        self.end = self.project.simos.return_deadend
        for register, value in zip(("rdi", "rsi", "rdx", "rcx", "r8", "r9"), given, strict=False):
            setattr(state.regs, register, value)
        # As a call leaves it: the return address at the top of an aligned stack.
        state.regs.rsp = 0x7FFF_0000 - 8
        state.memory.store(state.regs.rsp, claripy.BVV(self.end, 64), endness="Iend_LE")
        # No address is ever picked out of many, as the default strategies would: such a path ends with
        # an error and the check is incomplete.
        state.memory.read_strategies = [SimConcretizationStrategyRange(ADDRESSES)]
        state.memory.write_strategies = [SimConcretizationStrategyRange(ADDRESSES)]
        return state


def impose(state: angr.SimState, shape: Shape) -> None:
    """Leaves of all inputs those that have the shape."""
    for at, length in shape.fields:
        field = claripy.BVV(length, 8 * FIELD)
        state.add_constraints(state.memory.load(BYTES_AT + at, FIELD) == field)
        state.memory.store(BYTES_AT + at, field)
    if shape.last is not None:
        field = state.memory.load(BYTES_AT + shape.last, FIELD)
        state.add_constraints(claripy.Or(field == 0, claripy.UGT(field, shape.most)))


def widen(word: int | claripy.ast.BV) -> int | claripy.ast.BV:
    """A word as it lies in a 64-bit register. What is above a u32 is open too, as the ABI has it."""
    if isinstance(word, int) or word.length == 64:
        return word
    return claripy.Concat(claripy.BVS("above", 64 - word.length), word)


def solve(state: angr.SimState, size: int | None, words: list, data: claripy.ast.BV | None) -> Input:
    """An input that leads here."""

    def pick(term: claripy.ast.BV) -> int:
        value = state.solver.eval(term)
        state.add_constraints(term == value)
        return value

    picked = pick(data).to_bytes(size, "big") if data is not None else (b"" if size is not None else None)
    return Input(picked, tuple(word if isinstance(word, int) else pick(word) for word in words))
