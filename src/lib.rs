// The front page shows the adapter, so its code compiles only where the adapter is.
#![cfg_attr(feature = "tokio", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "tokio"),
    doc = "Reverse connections for an HTTP proxy's external agents: the core, without the tokio adapter. See [`session`]."
)]
#![cfg_attr(not(feature = "std"), no_std)]
// On docs.rs every item says which feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Input of any kind must not bring the library down; tests may be blunter.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

extern crate alloc;

#[cfg(feature = "codec")]
pub mod codec;
pub mod machine;
#[cfg(feature = "tokio")]
pub mod net;
pub mod session;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
pub mod wire;
