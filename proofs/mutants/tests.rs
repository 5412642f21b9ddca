
// The tests in files of their own, as modules: one build for all of them. They need std.
#[cfg(test)]
#[cfg(feature = "std")]
extern crate self as dialback;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/codec.rs"]
mod codec;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/corpus.rs"]
mod corpus;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/enumerate/main.rs"]
mod enumerate;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/found.rs"]
mod found;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/golden_vectors.rs"]
mod golden_vectors;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/json.rs"]
mod json_reader;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/malformed/main.rs"]
mod malformed;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/matrix.rs"]
mod matrix;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/pair.rs"]
mod pair;
#[cfg(test)]
#[cfg(feature = "std")]
#[path = "../tests/simulate.rs"]
mod simulate;
