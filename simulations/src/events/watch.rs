//! Who looks on while the engine runs, and what they may order.

use crate::design::Packet;
use crate::message::{Class, Message};
use crate::outcome::Probe;

/// What becomes of a packet on a link.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Fate {
    /// It goes on.
    Pass,
    /// It is lost.
    Drop,
    /// It comes so much later.
    Hold(f64),
}

/// What an adversary, or a protocol around the network, wants done.
#[derive(Default, Debug)]
pub struct Orders {
    pub(super) messages: Vec<Message>,
    pub(super) timers: Vec<(f64, u64)>,
    pub(super) stop: bool,
}

impl Orders {
    /// Sends a packet, not before now.
    pub fn send(&mut self, message: Message) {
        self.messages.push(message);
    }

    /// Calls [`Watch::timer`] at a moment.
    pub fn wake(&mut self, at: f64, label: u64) {
        self.timers.push((at, label));
    }

    /// Ends the run.
    pub fn stop(&mut self) {
        self.stop = true;
    }

    pub(super) fn any(&self) -> bool {
        self.stop || !self.messages.is_empty() || !self.timers.is_empty()
    }
}

/// Who looks on, and may act. Everything comes in the order of time.
pub trait Watch<const T: usize> {
    /// Before anything happens.
    fn begin(&mut self, _orders: &mut Orders) {}
    /// A lane for a packet that is sent now, where its mass is 1; then the engine does not track it by itself. Several
    /// packets may have the same lane: what is followed then is their sender, not a message.
    fn lane(&mut self, _packet: &Packet, _class: Class) -> Option<usize> {
        None
    }
    /// A packet was sent.
    fn sent(&mut self, _now: f64, _packet: &Packet, _class: Class, _orders: &mut Orders) {}
    /// A packet sets out for a node (by number), or for its end.
    fn on_link(&mut self, _now: f64, _to: Option<u32>, _packet: &Packet, _class: Class) -> Fate {
        Fate::Pass
    }
    /// A packet is in a node now, in whose pool there are so many.
    fn entered(&mut self, _now: f64, _node: u32, _packet: &Packet, _pool: u32) {}
    /// A packet has left a node, in whose pool so many stay.
    fn departed(&mut self, _now: f64, _node: u32, _packet: &Packet, _stay: u32) {}
    /// A packet has reached its goal or its end.
    fn delivered(
        &mut self,
        _now: f64,
        _packet: &Packet,
        _class: Class,
        _mass: &[f64; T],
        _orders: &mut Orders,
    ) {
    }
    /// A timer rang.
    fn timer(&mut self, _now: f64, _label: u64, _orders: &mut Orders) {}
}

/// Nobody.
impl<const T: usize> Watch<T> for () {}

/// Somebody who only looks on.
pub struct Watching<'a, P>(pub &'a mut P);

impl<const T: usize, P: Probe<T>> Watch<T> for Watching<'_, P> {
    fn departed(&mut self, now: f64, node: u32, packet: &Packet, stay: u32) {
        self.0.departed(now, node, packet, stay);
    }
    fn delivered(
        &mut self,
        now: f64,
        packet: &Packet,
        class: Class,
        mass: &[f64; T],
        _orders: &mut Orders,
    ) {
        self.0.delivered(now, packet, class, mass);
    }
}
