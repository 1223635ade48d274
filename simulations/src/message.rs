//! What goes through a simulated network: packets, as far as a study of anonymity tells them apart.

/// Index of a user.
pub type User = u32;

/// A packet on its way into the network. A workload is an iterator of these, in the order of time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Message {
    /// Seconds since the start.
    pub time: f64,
    /// Who sends it.
    pub sender: User,
    /// Whom it is for; of cover, the sender.
    pub receiver: User,
    /// What it carries, which no observer is told.
    pub class: Class,
}

/// What a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Class {
    /// Something for somebody.
    Payload = 0,
    /// A question to one's own inbox.
    Fetch = 1,
    /// Cover that comes back to its sender.
    Loop = 2,
    /// Cover that dies at a random gateway.
    Drop = 3,
    /// A loop of a mix or gateway; the sender is the node.
    NodeLoop = 4,
}

impl Class {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Payload,
        Self::Fetch,
        Self::Loop,
        Self::Drop,
        Self::NodeLoop,
    ];

    /// For tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payload => "payload",
            Self::Fetch => "fetch",
            Self::Loop => "loop",
            Self::Drop => "drop",
            Self::NodeLoop => "node_loop",
        }
    }
}
