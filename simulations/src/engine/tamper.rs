//! An adversary on the links: decides of every packet that leaves whether it passes, dies or waits. And one
//! who has the authority's key: shows a node another directory.
//!
//! It is handed the truth with each packet, because what an adversary *inside* a node knows can only
//! be said in terms of it; what an attack may use of that truth is the attack's to say.

use super::{Actor, Engine};
use crate::observer::Observer;
use directory::Directory;
use sphinx::PacketFormat;
use std::time::Duration;
use wire::time::Instant;

/// A packet that is about to leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Passing {
    /// When.
    pub at: Instant,
    /// From whom.
    pub from: Actor,
    /// To whom.
    pub to: Actor,
    /// The number of its echo.
    pub echo: u64,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It passes.
    Pass,
    /// It dies.
    Drop,
    /// It leaves so much later.
    Hold(Duration),
}

pub(super) type Tamper = Box<dyn FnMut(&Passing, &Observer) -> Fate>;

/// What a node gets instead of a directory, if anything.
pub(super) type Amend = Box<dyn Fn(Actor, &Directory) -> Option<Directory>>;

impl<F: PacketFormat> Engine<F> {
    /// From now on a node that fetches a directory gets what this makes of it, signed as the true one would be.
    pub fn amend(&mut self, with: impl Fn(Actor, &Directory) -> Option<Directory> + 'static) {
        self.amend = Some(Box::new(with));
    }

    /// From now on this adversary is on all links.
    pub fn tamper(&mut self, with: impl FnMut(&Passing, &Observer) -> Fate + 'static) {
        self.tamper = Some(Box::new(with));
    }

    /// The adversary is gone.
    pub fn tamper_no_more(&mut self) {
        self.tamper = None;
    }

    /// What becomes of a packet that is about to leave.
    pub(super) fn fate(&mut self, passing: &Passing) -> Fate {
        match &mut self.tamper {
            Some(tamper) => tamper(passing, &self.observer),
            None => Fate::Pass,
        }
    }
}
