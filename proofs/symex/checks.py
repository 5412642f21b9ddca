"""What is checked, over which inputs, and how a path may come out."""

from __future__ import annotations

from dataclasses import dataclass

from shapes import Shape, shapes


@dataclass(frozen=True)
class Job:
    """One run of the engine: an entry point, the number of its open bytes if it takes bytes, the other
    arguments ("u32", "u64": open), and what is said beforehand about the bytes."""

    symbol: str
    size: int | None
    args: tuple[int | str, ...]
    shape: Shape | None = None


@dataclass(frozen=True)
class Check:
    name: str
    space: str
    jobs: list[Job]
    outcomes: set[int]
    """What the entry point returns on its paths, all of it. Less would mean that the check does not get
    where it should."""


def words(symbol: str, *args: int | str) -> Job:
    return Job(symbol, None, args)


def streams(symbol: str, count: int, *args: int | str) -> list[Job]:
    return [Job(symbol, count, args, shape) for shape in shapes(count)]


# How the decoder's checks come out: whole frames, plus 16 for a length of zero, plus 32 for one too large.
UP_TO_ONE_FRAME = {0, 1, 16, 32}
UP_TO_TWO_FRAMES = {0, 1, 2, 16, 17, 32, 33}

ENGINE = [
    Check("engine_multiplies", "every u64 * every u32", [words("engine_multiplies", "u64", "u32")], {0, 1}),
    Check("engine_adds", "every u64 +- every u64", [words("engine_adds", "u64", "u64")], {0, 1, 2, 3}),
    Check("engine_divides", "every u32 / every u16", [words("engine_divides", "u32", "u32")], {0, 1}),
    Check("engine_shifts", "every u64", [words("engine_shifts", "u64")], {0, 1}),
]

WORDS = [
    Check("time_after", "every u64 + every Duration", [words("time_after", "u64", "u64", "u32")], {0, 1, 9}),
    Check("time_since", "every u64, every u64", [words("time_since", "u64", "u64")], {0, 1}),
    Check("time_millis", "every u64", [words("time_millis", "u64")], {0}),
    Check("header_length", "every payload length, every limit", [words("header_length", "u64", "u32")], {0, 1}),
    Check("admission_room", "every usize, four times", [words("admission_room", *["u64"] * 4)], {0, 1, 2}),
    Check(
        "window",
        "every limit, stated, announced, in flight",
        [words("window", "u32", "u32", "u64", "u32", "u64")],
        {0, 1},
    ),
    Check("histogram_bucket", "every u64 of microseconds", [words("histogram_bucket", "u64")], {0, 1}),
    Check(
        "backoff_ceiling",
        "every first and last ceiling, u32 seconds; 3 failures",
        [words("backoff_ceiling", "u32", "u32", 3)],
        {0, 1},
    ),
    Check(
        "backoff_any",
        "every ceiling and life, u64 seconds; 2 attempts",
        [words("backoff_any", *["u64"] * 4, part) for part in (0, 1, 999_999_999)],
        {0, 1},
    ),
]


def throttle(rates: tuple[int, ...]) -> Check:
    return Check(
        "throttle_takes",
        f"rates {rates} /s; every burst, three times",
        [words("throttle_takes", rate, "u32", "u64", "u64", "u64") for rate in rates],
        {0, 1, 2},
    )


def round_trip(most: int) -> Check:
    jobs = [Job("round_trip", count, ("u32",)) for count in range(most + 1)]
    return Check("round_trip", f"every payload of 0..={most} bytes, every limit", jobs, {0, 1})


def whole(most: int, outcomes: set[int]) -> Check:
    jobs = [job for count in range(most + 1) for job in streams("decoder_whole", count, "u32")]
    return Check("decoder_whole", f"every input of 0..={most} bytes, every limit", jobs, outcomes)


def cut(most: int, outcomes: set[int]) -> Check:
    jobs = [
        job
        for count in range(most + 1)
        for at in range(count + 1)
        for job in streams("decoder_cut", count, at, "u32")
    ]
    return Check("decoder_cut", f"the same of 0..={most} bytes, every cut in two", jobs, outcomes)


def cut_twice(count: int, outcomes: set[int]) -> Check:
    jobs = [
        job
        for one in range(count + 1)
        for two in range(one, count + 1)
        for job in streams("decoder_cut_twice", count, one, two, "u32")
    ]
    return Check("decoder_cut_twice", f"the same of {count} bytes, every cut in three", jobs, outcomes)


def relimit(count: int, outcomes: set[int]) -> Check:
    jobs = [job for at in range(count + 1) for job in streams("decoder_relimit", count, at, "u32", "u32")]
    return Check("decoder_relimit", f"the same of {count} bytes, every new limit at every cut", jobs, outcomes)


SMALL = [
    *ENGINE,
    *WORDS,
    throttle((0, 1, 2)),
    round_trip(4),
    whole(7, UP_TO_ONE_FRAME),
    cut(5, UP_TO_ONE_FRAME),
    relimit(5, UP_TO_ONE_FRAME),
]
FULL = [
    *ENGINE,
    *WORDS,
    throttle((0, 1, 2, 3, 16, 1_024)),
    round_trip(16),
    whole(11, UP_TO_TWO_FRAMES),
    cut(8, UP_TO_ONE_FRAME),
    cut_twice(6, UP_TO_ONE_FRAME),
    relimit(7, UP_TO_ONE_FRAME),
]
DOSES = {"small": SMALL, "full": FULL}
