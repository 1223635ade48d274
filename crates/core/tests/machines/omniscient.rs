//! Everything a client's network knows, in one hand: reads what a client sends and answers it.

use crate::world::{EPOCH, directory, id, keys};
use directory::{Directory, Parameters};
use mizzle_core::{Peer, Transmit};
use sphinx::{PacketFormat, Sphinx, SphinxSecret, Unwrapped};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::frame::{Frame, PacketBytes};
use wire::ids::{Epoch, EpochHint, NextHop, NodeId};
use wire::request::{Answer, Envelope, Reply};
use wire::time::Instant;

const NODES: usize = 6;

/// A machine's secrets by node and epoch, for tests of clients: whoever holds them is the whole
/// network.
pub(crate) struct Omniscient {
    secrets: BTreeMap<(usize, Epoch), SphinxSecret>,
    pub(crate) directory: Arc<Directory>,
}

/// What a client asked, as its gateway reads it.
pub(crate) struct Question {
    pub(crate) envelope: Envelope,
    /// Which node answers.
    pub(crate) at: usize,
    /// When the frame leaves.
    pub(crate) left: Instant,
}

impl Omniscient {
    pub(crate) fn new(parameters: Parameters) -> Self {
        let mut rng = keys(100);
        let mut secrets = BTreeMap::new();
        for node in 0..NODES {
            for epoch in [EPOCH, EPOCH.next()] {
                secrets.insert((node, epoch), Sphinx::generate(&mut rng));
            }
        }
        let directory = directory(EPOCH, parameters, |n, e| Sphinx::public(&secrets[&(n, e)]));
        Self { secrets, directory }
    }

    fn epoch(hint: EpochHint) -> Epoch {
        if hint == EPOCH.hint() {
            EPOCH
        } else {
            EPOCH.next()
        }
    }

    fn secret(&self, hop: &NodeId, hint: EpochHint) -> (usize, &SphinxSecret) {
        let node = (0..NODES).find(|n| id(*n) == *hop).unwrap();
        (node, &self.secrets[&(node, Self::epoch(hint))])
    }

    /// Takes a client's packet all the way to the gateway that answers.
    pub(crate) fn read(&self, transmit: &Transmit) -> Question {
        let (Peer::Node(mut to), Frame::Packet(mut hint, mut packet)) =
            (transmit.to.clone(), transmit.frame.clone())
        else {
            panic!("a client sends packets to a node")
        };
        for _ in 0..5 {
            let (at, secret) = self.secret(&to, hint);
            match Sphinx::unwrap(secret, &packet).unwrap() {
                Unwrapped::Forward {
                    next: NextHop::Node { id, epoch },
                    packet: passed,
                    ..
                } => (to, hint, packet) = (id, epoch, passed),
                Unwrapped::Request { plaintext, .. } => {
                    let envelope = Envelope::decode(&plaintext.unwrap());
                    return Question {
                        envelope: envelope.unwrap_or_else(|_| panic!("readable")),
                        at,
                        left: transmit.at,
                    };
                }
                Unwrapped::Forward { .. } | Unwrapped::Reply { .. } => panic!("a request"),
            }
        }
        panic!("five hops are enough")
    }

    /// The packet that brings an answer to the client, as its entry gateway sends it.
    pub(crate) fn answer(&self, question: &Question, answer: Answer) -> PacketBytes {
        let reply = Reply {
            epoch: self.directory.epoch,
            directory: self.directory.hash(),
            answer,
        };
        self.reply(question, &reply)
    }

    /// [`Omniscient::answer`] from a gateway that goes by whatever directory it likes.
    pub(crate) fn reply(&self, question: &Question, reply: &Reply) -> PacketBytes {
        let (mut next, mut packet) =
            Sphinx::use_surb(&question.envelope.surb, &reply.encode()).unwrap();
        while let NextHop::Node { id, epoch } = next {
            let (_, secret) = self.secret(&id, epoch);
            let Ok(Unwrapped::Forward {
                next: n, packet: p, ..
            }) = Sphinx::unwrap(secret, &packet)
            else {
                panic!("a reply is passed on")
            };
            (next, packet) = (n, p);
        }
        packet
    }
}
