//! What somebody sees who watches every link ([`Crossing`]) or owns a gateway ([`Inside`]), and what is
//! true ([`Echo`]).
//!
//! The truth is followed from outside the machines: a packet on its way is known again by the
//! first bytes of its header, which no two packets share at any hop. So the machines need no hook,
//! and the two packet formats are followed alike.

mod marks;

use crate::engine::Actor;
use marks::Marks;
use sphinx::Unwrapped;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};
use wire::ids::{EpochHint, InboxId, NextHop};
use wire::request::{Envelope, Request};
use wire::time::Instant;

/// Hops of a client's echo.
const HOPS: usize = 9;

/// Bytes of one frame on a link.
pub const RECORD_LEN: usize = FRAME_LEN + TLS_OVERHEAD_LEN;

/// A frame on a link: all that is seen of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crossing {
    /// When it left.
    pub at: Instant,
    /// From whom.
    pub from: Actor,
    /// To whom.
    pub to: Actor,
    /// Bytes of its TLS record.
    pub size: usize,
}

/// What one hop read off a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HopSeen {
    /// Which hop. For the answering gateway, which is chosen by what is carried, compare the rest.
    pub at: Actor,
    /// How long the packet was to wait there.
    pub delay: Duration,
    /// Epoch of the key for the next hop; zero where there is none.
    pub next_epoch: EpochHint,
}

/// One request and its reply.
#[derive(Clone, PartialEq, Debug)]
pub struct Echo {
    /// Who asked.
    pub maker: Actor,
    /// When the request left.
    pub sent: Instant,
    /// Every hop that unwrapped it, there and back, in order.
    pub hops: Vec<HopSeen>,
    /// Index in `hops` of the gateway that answered.
    pub answered: Option<usize>,
    /// When the reply was back.
    pub returned: Option<Instant>,
}

/// What a gateway's owner sees of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sight {
    /// It came from the client with this number, or from another node.
    Entering(Option<usize>),
    /// It goes back to the client with this number, or to another node, over this gateway.
    Returning(Option<usize>),
    /// A cell for an inbox.
    Deposit(InboxId),
    /// A question to an inbox.
    Fetch(InboxId),
    /// Any other request.
    Other,
}

/// One packet inside one gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inside {
    /// When it came.
    pub at: Instant,
    /// Which gateway.
    pub gateway: usize,
    /// The truth: the number of its echo. No gateway knows it.
    pub echo: u64,
    /// What is seen.
    pub sight: Sight,
}

/// Sees every link; knows every packet.
#[derive(Default)]
pub struct Observer {
    crossings: Vec<Crossing>,
    insides: Vec<Inside>,
    /// By number, from 1.
    echoes: Vec<Echo>,
    numbers: Marks,
}

impl Observer {
    /// A frame leaves.
    pub(crate) fn sent(&mut self, at: Instant, from: Actor, to: Actor) {
        self.crossings.push(Crossing {
            at,
            from,
            to,
            size: RECORD_LEN,
        });
    }

    /// The number of a packet that leaves: its echo's, or a new one's where nobody has passed it
    /// on.
    pub(crate) fn number(&mut self, packet: &PacketBytes, maker: Actor, sent: Instant) -> u64 {
        if let Some(number) = self.numbers.remove(&packet[..]) {
            return number;
        }
        let echo = Echo {
            maker,
            sent,
            hops: Vec::with_capacity(HOPS),
            answered: None,
            returned: None,
        };
        self.echoes.push(echo);
        self.echoes.len() as u64
    }

    /// A node unwrapped a packet: remembers what it will look like when it leaves again.
    pub(crate) fn unwrapped(&mut self, number: u64, at: Actor, what: &Unwrapped, now: Instant) {
        let Some(echo) = self.echoes.get_mut(index(number)) else {
            return;
        };
        // What a request asks is read once.
        let envelope = match what {
            Unwrapped::Request { plaintext, .. } => plaintext.as_ref().map(|p| Envelope::decode(p)),
            Unwrapped::Forward { .. } | Unwrapped::Reply { .. } => None,
        };
        let envelope = envelope.and_then(Result::ok);
        let inside = match at {
            Actor::Gateway(gateway) => Some((gateway, sight(echo, what, envelope.as_ref()))),
            Actor::Authority | Actor::Mix(_) | Actor::Client(_) => None,
        };
        match what {
            Unwrapped::Forward {
                next,
                delay,
                packet,
                ..
            } => {
                let next_epoch = match next {
                    NextHop::Node { epoch, .. } => *epoch,
                    NextHop::Session(_) => EpochHint::default(),
                };
                echo.hops.push(HopSeen {
                    at,
                    delay: *delay,
                    next_epoch,
                });
                self.numbers.insert(&packet[..], number);
            }
            Unwrapped::Request { .. } => {
                if let Some(envelope) = &envelope {
                    echo.answered = Some(echo.hops.len());
                    echo.hops.push(HopSeen {
                        at,
                        delay: envelope.reply_delay,
                        next_epoch: EpochHint::default(),
                    });
                    // A reply block begins with the header of the packet it makes.
                    self.numbers.insert(&envelope.surb[..], number);
                }
            }
            Unwrapped::Reply { .. } => {}
        }
        if let Some((gateway, sight)) = inside {
            self.insides.push(Inside {
                at: now,
                gateway,
                echo: number,
                sight,
            });
        }
    }

    /// A reply is back with whoever asked.
    pub(crate) fn returned(&mut self, number: u64, at: Instant) {
        if let Some(echo) = self.echoes.get_mut(index(number)) {
            echo.returned.get_or_insert(at);
        }
    }

    /// Every frame that left, in the order of leaving on each link.
    pub fn crossings(&self) -> &[Crossing] {
        &self.crossings
    }

    /// Every packet that came to a gateway, by time.
    pub fn insides(&self) -> &[Inside] {
        &self.insides
    }

    /// The truth about one packet.
    pub fn echo(&self, number: u64) -> Option<&Echo> {
        self.echoes.get(index(number))
    }

    /// Times and sizes on one link in one direction: all that is seen there.
    pub fn link(&self, from: Actor, to: Actor) -> Vec<(Instant, usize)> {
        let here = |c: &&Crossing| c.from == from && c.to == to;
        self.crossings
            .iter()
            .filter(here)
            .map(|c| (c.at, c.size))
            .collect()
    }

    /// Every echo with its number, in the order of leaving.
    pub fn echoes(&self) -> impl Iterator<Item = (u64, &Echo)> {
        (1..).zip(&self.echoes)
    }

    /// Echoes of one maker, in the order of leaving.
    pub fn echoes_of(&self, maker: Actor) -> impl Iterator<Item = &Echo> {
        self.echoes.iter().filter(move |e| e.maker == maker)
    }

    /// How many echoes were sent in all, and how many of them are back.
    pub fn echo_counts(&self) -> (usize, usize) {
        let back = self.echoes.iter().filter(|e| e.returned.is_some());
        (self.echoes.len(), back.count())
    }
}

/// Echoes are numbered from 1.
fn index(number: u64) -> usize {
    (number as usize).wrapping_sub(1)
}

fn sight(echo: &Echo, what: &Unwrapped, envelope: Option<&Envelope>) -> Sight {
    match what {
        Unwrapped::Forward { .. } => {
            let client = match echo.maker {
                Actor::Client(client) => Some(client),
                Actor::Authority | Actor::Mix(_) | Actor::Gateway(_) => None,
            };
            match echo.answered {
                Some(_) => Sight::Returning(client),
                None => Sight::Entering(client),
            }
        }
        Unwrapped::Request { .. } => match envelope.map(|e| &e.request) {
            Some(Request::Deposit(deposit)) => Sight::Deposit(deposit.inbox),
            Some(Request::Fetch(fetch)) => Sight::Fetch(fetch.inbox),
            Some(Request::Cover | Request::Open(_) | Request::Close(_) | Request::Directory(_))
            | None => Sight::Other,
        },
        Unwrapped::Reply { .. } => Sight::Other,
    }
}
