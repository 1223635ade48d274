//! The whole daemon on real sockets, against a made-up network: a signed directory of nodes that do
//! not exist, and an entry gateway that is a test. The real network is `localnet check`.

mod apps;
mod blobs;
mod browsers;
mod clock;
mod damaged;
mod directories;
mod gateway;
mod hostile;
mod messages;
mod process;
mod refusals;
mod sockets;
mod starts;
mod world;
