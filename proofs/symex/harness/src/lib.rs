//! The entry points of the symbolic execution. Each takes what the engine leaves open and asserts what must
//! hold of the library's answer; a path that reaches a panic is a counterexample.
//!
//! What an entry point returns says how the path came out. The engine compares the set of these with what
//! is possible, so that a check that never gets where it should is noticed.

#![no_std]
// Or the loops that are `memcpy` would be compiled into calls of `memcpy`.
#![no_builtins]

mod arithmetic;
mod engine;
mod frames;
mod platform;

/// Bytes that the engine has laid out.
///
/// # Safety
/// `place` must be followed by `count` readable bytes.
const unsafe fn bytes<'a>(place: *const u8, count: usize) -> &'a [u8] {
    unsafe { core::slice::from_raw_parts(place, count) }
}
