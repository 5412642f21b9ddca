"""Runs the checks of a dose and prints what came of them. Takes the compiled harness, the dose, and the names
of checks if not all are wanted."""

from __future__ import annotations

import ctypes
import multiprocessing as mp
import os
import resource
import signal
import sys
import time
from multiprocessing.connection import Connection, wait

from checks import DOSES, Check, Job
from engine import Binary, Input, Run

# Of one run, on its processor. The longest takes a minute or two.
MOST_SECONDS = 900


def work(binary: Binary, job: Job, answer: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    began = time.process_time()
    try:
        run = binary.run(job.symbol, job.size, job.args, job.shape)
    except Exception as error:  # whatever it is, the run is not one that has shown anything
        run = Run(incomplete=f"{type(error).__name__}: {error}")
    answer.send((run, time.process_time() - began))


def run_all(binary: Binary, jobs: list[Job]) -> list[tuple[Run, float]]:
    """Runs each job in a process of its own, as many at once as there are processors."""
    results: list[tuple[Run, float]] = []
    waiting = list(reversed(jobs))
    running: dict[Connection, mp.Process] = {}
    while waiting or running:
        while waiting and len(running) < (os.cpu_count() or 1):
            mine, its = mp.Pipe(duplex=False)
            process = mp.Process(target=work, args=(binary, waiting.pop(), its))
            process.start()
            its.close()
            running[mine] = process
        for ready in wait(list(running)):
            assert isinstance(ready, Connection)
            process = running.pop(ready)
            try:
                results.append(ready.recv())
            except EOFError:
                process.join()
                reason = f"not done in {MOST_SECONDS} s (exit {process.exitcode})"
                results.append((Run(incomplete=reason), float(MOST_SECONDS)))
            process.join()
    return results


def replay(library: str, symbol: str, given: Input) -> bool:
    """Whether the processor itself, given this input, runs into the panic."""

    def call() -> None:
        function = getattr(ctypes.CDLL(library), symbol)
        words = [ctypes.c_uint64(word) for word in given.words]
        if given.data is not None:
            words = [ctypes.c_char_p(given.data), ctypes.c_uint64(len(given.data)), *words]
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        function(*words)

    process = mp.Process(target=call)
    process.start()
    process.join()
    return process.exitcode == -signal.SIGILL


def judge(library: str, check: Check, runs: list[Run]) -> str:
    """What is wrong, or nothing."""
    for run in runs:
        if run.counterexample is not None:
            real = replay(library, check.jobs[0].symbol, run.counterexample)
            told = "the processor agrees" if real else "NOT CONFIRMED by the processor: an error of the engine"
            return f"PANIC with {run.counterexample} ({told})"
    for run in runs:
        if run.incomplete is not None:
            return f"INCOMPLETE: {run.incomplete}"
    outcomes = set().union(*(run.outcomes for run in runs))
    if outcomes != check.outcomes:
        return f"VACUOUS: comes out as {sorted(outcomes)} instead of {sorted(check.outcomes)}"
    return ""


def main(library: str, dose: str, *names: str) -> int:
    known = {check.name: check for check in DOSES[dose]}
    unknown = set(names) - set(known)
    assert not unknown, f"no such check: {', '.join(sorted(unknown))}"
    binary = Binary(library)
    red = 0
    print(f"{'check':<18} {'input space':<52} {'runs':>5} {'paths':>6} {'s':>6}  verdict", flush=True)
    for check in [known[name] for name in names] or DOSES[dose]:
        results = run_all(binary, check.jobs)
        runs = [run for run, _ in results]
        paths, seconds = sum(run.paths for run in runs), sum(spent for _, spent in results)
        wrong = judge(library, check, runs)
        red += bool(wrong)
        verdict = wrong or "ok"
        print(f"{check.name:<18} {check.space:<52} {len(runs):>5} {paths:>6} {seconds:>6.1f}  {verdict}", flush=True)
    print(f"{dose}: " + (f"{red} red" if red else "all green"))
    return 1 if red else 0


if __name__ == "__main__":
    mp.set_start_method("fork")
    sys.exit(main(*sys.argv[1:]))
