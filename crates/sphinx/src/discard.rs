//! Why a packet died, and how many did. A discarded packet is an outcome, never an error.

/// Every reason for which any machine discards a packet. A closed set: it labels a metric.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum DiscardReason {
    /// The node holds no key for the epoch that the frame names.
    UnknownEpoch,
    /// The shared secret is all zero: α was a point of low order.
    ZeroSecret,
    /// The header's MAC is wrong: another key, a changed header, or noise.
    BadMac,
    /// The header's MAC is right, but it says another Sphinx version than 260.
    BadVersion,
    /// The header's MAC is right, but its routing information cannot be read.
    BadRouting,
    /// The payload cannot be read: it was changed on its way, or never made sense.
    BadPayload,
    /// The same packet was here before.
    Replayed,
    /// Its replay tag could not be made durable: the disk is full or failing.
    TagNotDurable,
    /// The replay set of this key is full; nothing more is taken until the key rotates.
    ReplaySetFull,
    /// The delay queue is full.
    QueueFull,
    /// The next hop is in no directory that is valid now.
    UnknownNextHop,
    /// The next hop exists, but is not of the next layer.
    NotAdjacent,
    /// The delay is longer than any honest sender draws.
    DelayTooLong,
    /// A reply came for a reply block that this node never made, or that was used before.
    UnknownReply,
    /// A request came to a node that answers none.
    NotAGateway,
    /// A request came with no usable reply block, so it cannot be answered.
    BadSurb,
    /// The packet is for a client's session that this gateway does not hold.
    UnknownSession,
    /// The client's downlink queue is full; its oldest packet made room.
    DownlinkFull,
    /// The link to the next hop is down or its queue is full.
    LinkFull,
    /// The node had more packets waiting to be unwrapped than it takes, or this one had waited so long
    /// that it would have left late.
    Overloaded,
    /// The node has no directory that is valid now.
    NoDirectory,
    /// A node of a test network was told to lose it (`test_loss`); never in a real network.
    TestLoss,
}

impl DiscardReason {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 22] = [
        Self::UnknownEpoch,
        Self::ZeroSecret,
        Self::BadMac,
        Self::BadVersion,
        Self::BadRouting,
        Self::BadPayload,
        Self::Replayed,
        Self::TagNotDurable,
        Self::ReplaySetFull,
        Self::QueueFull,
        Self::UnknownNextHop,
        Self::NotAdjacent,
        Self::DelayTooLong,
        Self::UnknownReply,
        Self::NotAGateway,
        Self::BadSurb,
        Self::UnknownSession,
        Self::DownlinkFull,
        Self::LinkFull,
        Self::Overloaded,
        Self::NoDirectory,
        Self::TestLoss,
    ];

    /// The metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownEpoch => "unknown_epoch",
            Self::ZeroSecret => "zero_secret",
            Self::BadMac => "bad_mac",
            Self::BadVersion => "bad_version",
            Self::BadRouting => "bad_routing",
            Self::BadPayload => "bad_payload",
            Self::Replayed => "replayed",
            Self::TagNotDurable => "tag_not_durable",
            Self::ReplaySetFull => "replay_set_full",
            Self::QueueFull => "queue_full",
            Self::UnknownNextHop => "unknown_next_hop",
            Self::NotAdjacent => "not_adjacent",
            Self::DelayTooLong => "delay_too_long",
            Self::UnknownReply => "unknown_reply",
            Self::NotAGateway => "not_a_gateway",
            Self::BadSurb => "bad_surb",
            Self::UnknownSession => "unknown_session",
            Self::DownlinkFull => "downlink_full",
            Self::LinkFull => "link_full",
            Self::Overloaded => "overloaded",
            Self::NoDirectory => "no_directory",
            Self::TestLoss => "test_loss",
        }
    }
}

/// How many packets died of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discards([u64; DiscardReason::ALL.len()]);

impl Discards {
    /// Counts one more.
    pub fn count(&mut self, reason: DiscardReason) {
        self.0[reason as usize] += 1;
    }

    /// Counts what somebody else counted.
    pub fn add(&mut self, others: &Self) {
        let all = self.0.iter_mut().zip(others.0);
        all.for_each(|(count, others)| *count += others);
    }

    /// How many died of `reason`.
    pub fn of(&self, reason: DiscardReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many died in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DiscardReason, u64)> + '_ {
        DiscardReason::ALL.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_each_reason_at_its_own_place() {
        for (i, reason) in DiscardReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
    }
}
