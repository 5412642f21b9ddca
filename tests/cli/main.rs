//! The command line, each command as a process of its own.

mod conversation;
mod decode;
mod tool;
mod words;
