
// The tests in files of their own, as modules: one build for all of them. They need std.
#[cfg(all(test, feature = "std"))]
extern crate self as dialback;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/codec.rs"]
mod codec;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/golden_vectors.rs"]
mod golden_vectors;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/malformed/main.rs"]
mod malformed;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/matrix.rs"]
mod matrix;
#[cfg(all(test, feature = "std"))]
#[path = "../tests/pair.rs"]
mod pair;
