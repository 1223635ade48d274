//! A client with the whole network at hand, for its tests.

use crate::omniscient::{Omniscient, Question};
use crate::world::{GATEWAY, NOW, anchor, id, keys, parameters, schedule, traffic};
use directory::{Parameters, Rate};
use mizzle_core::client::{
    Client, ClientConfig, ClientEvent, ClientSeeds, DepositOrder, FetchClass, Flow, FlowClass,
    OpenOrder,
};
use mizzle_core::{Peer, Transmit};
use sphinx::Sphinx;
use std::time::Duration;
use wire::geometry::CELL_LEN;
use wire::ids::{CellId, InboxAddress, InboxId, SessionAddress, WriteToken};
use wire::keys::IdentitySecret;
use wire::request::{Answer, Cell, Request};
use wire::time::Instant;

pub(crate) const INBOX: InboxId = InboxId([7; 32]);
/// The gateway where content goes; the client's entry is [`GATEWAY`].
pub(crate) const FAR: usize = GATEWAY + 1;
/// Somebody one writes to.
pub(crate) const CHAT: Flow = Flow {
    class: FlowClass::Chat,
    peer: 1,
};

pub(crate) struct Desk {
    pub(crate) net: Omniscient,
    pub(crate) client: Client<Sphinx>,
    pub(crate) now: Instant,
}

impl Desk {
    /// With a directory and a connection.
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(
        limits: impl FnOnce(&mut ClientConfig),
        rates: impl FnOnce(&mut Parameters),
    ) -> Self {
        let mut desk = Self::alone(limits, rates);
        desk.learn();
        desk.client.handle_connected(NOW);
        desk
    }

    /// With neither.
    pub(crate) fn alone(
        limits: impl FnOnce(&mut ClientConfig),
        rates: impl FnOnce(&mut Parameters),
    ) -> Self {
        let mut parameters = Parameters {
            payload_rate: Rate(20_000),
            loop_rate: Rate(1_000),
            ..parameters()
        };
        rates(&mut parameters);
        let mut config = ClientConfig::new(schedule());
        limits(&mut config);
        let seeds = ClientSeeds {
            traffic: traffic(50),
            keys: keys(50),
            session: SessionAddress::from_random([5; 32]),
        };
        Self {
            net: Omniscient::new(parameters),
            client: Client::new(config, id(GATEWAY), anchor(), seeds),
            now: NOW,
        }
    }

    pub(crate) fn learn(&mut self) {
        let directory = self.net.directory.clone();
        self.client.handle_directory(directory, anchor(), self.now);
    }

    /// Keeps every deadline for so long; each frame with the moment it was handed out.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<(Instant, Transmit)> {
        let until = self.now + time;
        let mut left = Vec::new();
        while let Some((due, _)) = self.client.poll_timeout().filter(|(due, _)| *due <= until) {
            self.now = due.max(self.now);
            self.client.handle_timeout(self.now);
            while let Some(transmit) = self.client.poll_transmit() {
                assert!(
                    transmit.to == Peer::Node(id(GATEWAY)),
                    "the entry gateway's"
                );
                left.push((self.now, transmit));
            }
        }
        self.now = until;
        left
    }

    /// What is asked in this time.
    pub(crate) fn questions(&mut self, time: Duration) -> Vec<Question> {
        let left = self.pass(time);
        left.iter().map(|(_, t)| self.net.read(t)).collect()
    }

    /// The first question of a kind, within a minute.
    pub(crate) fn wait(&mut self, kind: impl Fn(&Request) -> bool) -> Question {
        let until = self.now + Duration::from_secs(60);
        while self.now < until {
            let asked = self.questions(Duration::from_millis(20));
            let mut asked = asked.into_iter().filter(|q| kind(&q.envelope.request));
            if let Some(question) = asked.next() {
                return question;
            }
        }
        panic!("never asked")
    }

    pub(crate) fn answer(&mut self, question: &Question, answer: Answer) {
        let packet = self.net.answer(question, answer);
        self.client.handle_packet(&packet, self.now);
    }

    pub(crate) fn events(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// [`INBOX`] stands at [`FAR`].
    pub(crate) fn open(&mut self) {
        assert!(self.client.handle_open(open_at(FAR), self.now));
        let question = self.wait(is_open);
        self.answer(&question, Answer::Opened { ttl_secs: 100 });
        assert!(self.events() == [ClientEvent::Opened(INBOX, 100)]);
    }
}

pub(crate) fn reader() -> IdentitySecret {
    IdentitySecret::from_seed(&[1; 32])
}

pub(crate) fn open_at(gateway: usize) -> OpenOrder {
    OpenOrder {
        gateway: id(gateway),
        inbox: INBOX,
        reader: reader(),
        token_hash: WriteToken([3; 32]).hash(),
        ttl_secs: 100,
        class: FetchClass::Contact,
    }
}

pub(crate) fn cell(n: u8) -> Cell {
    Box::new([n; CELL_LEN])
}

pub(crate) fn cell_id(n: u8) -> CellId {
    CellId([n; 16])
}

/// A deposit whose handle, id and content are `n`.
pub(crate) fn deposit_at(gateway: usize, n: u8) -> DepositOrder {
    DepositOrder {
        handle: u64::from(n),
        address: InboxAddress {
            gateway: id(gateway),
            inbox: INBOX,
            token: WriteToken([3; 32]),
        },
        cell_id: cell_id(n),
        cell: cell(n),
        flow: CHAT,
    }
}

pub(crate) fn is_open(request: &Request) -> bool {
    matches!(request, Request::Open(_))
}

pub(crate) fn is_deposit(request: &Request) -> bool {
    matches!(request, Request::Deposit(_))
}

pub(crate) fn is_fetch(request: &Request) -> bool {
    matches!(request, Request::Fetch(_))
}

pub(crate) fn is_close(request: &Request) -> bool {
    matches!(request, Request::Close(_))
}
