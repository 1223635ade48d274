//! What a mix, a gateway and a client *decide*. The daemons drive these machines with tokio,
//! `simulations` with an event queue and a virtual clock; the lines are the same.

pub mod stored;
