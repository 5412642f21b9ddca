//! One direction of the transport: whole frames, first in first out.

use std::collections::VecDeque;

/// How far a direction has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flowing {
    /// Frames may be put in.
    On,
    /// The end stands behind what is in it.
    Ended,
    /// It broke; the reader has not noticed.
    Broken,
    /// Nobody reads it any more.
    Over,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stream<F> {
    /// Written and unread.
    pub frames: VecDeque<F>,
    /// How far it has come.
    pub flowing: Flowing,
}

/// What a reader finds.
#[derive(Debug)]
pub enum Read<F> {
    /// Nothing yet.
    Nothing,
    /// A frame.
    Frame(F),
    /// The end.
    End,
    /// An error.
    Failure,
}

impl<F> Stream<F> {
    pub(super) const fn new() -> Self {
        Self { frames: VecDeque::new(), flowing: Flowing::On }
    }

    /// What is written into a direction that has ended is gone.
    pub(super) fn write(&mut self, frame: F) {
        if self.flowing == Flowing::On {
            self.frames.push_back(frame);
        }
    }

    pub(super) fn end(&mut self) {
        if self.flowing == Flowing::On {
            self.flowing = Flowing::Ended;
        }
    }

    pub(super) fn sever(&mut self) {
        if self.flowing != Flowing::Over {
            *self = Self { frames: VecDeque::new(), flowing: Flowing::Broken };
        }
    }

    pub(super) fn abandon(&mut self) {
        *self = Self { frames: VecDeque::new(), flowing: Flowing::Over };
    }

    pub(super) fn read(&mut self) -> Read<F> {
        if let Some(frame) = self.frames.pop_front() {
            return Read::Frame(frame);
        }
        match self.flowing {
            Flowing::On | Flowing::Over => Read::Nothing,
            Flowing::Ended => {
                self.flowing = Flowing::Over;
                Read::End
            }
            Flowing::Broken => {
                self.flowing = Flowing::Over;
                Read::Failure
            }
        }
    }
}
