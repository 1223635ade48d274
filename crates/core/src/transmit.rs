//! A frame that leaves a machine.

use wire::frame::Frame;
use wire::ids::{NodeId, SessionAddress};
use wire::time::Instant;

/// Whom a frame is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A node of the directory.
    Node(NodeId),
    /// A client connected to this gateway.
    Session(SessionAddress),
}

/// A frame, its receiver and its moment.
#[derive(Clone)]
pub struct Transmit {
    /// To whom.
    pub to: Peer,
    /// Not before. A client's ticks and a gateway's downlink slots are handed out a constant lead
    /// ahead; everything else is due at once. Lateness is counted from here.
    pub at: Instant,
    /// What.
    pub frame: Frame,
}
