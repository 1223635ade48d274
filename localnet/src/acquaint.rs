//! Makes clients contacts before the network stands: their real `Messenger`s exchange card and first
//! message in memory, and what they ask to be written becomes their stores.
//!
//! Only the transport is missing here; every key, signature and sealed cell is the real thing.

use anyhow::{Context, Result, anyhow, bail};
use directory::{
    Directory, EpochSchedule, Family, NodeDescriptor, Parameters, Preamble, Role, SphinxKey,
};
use messaging::{
    DepositOutcome, Event, InboxOutcome, Messenger, MessengerConfig, Order, Record, Table,
};
use runtime::entropy::Entropy;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::geometry::{FORMAT_SPHINX, GeometryHash};
use wire::ids::{DirectoryHash, InboxId, NetworkId, NodeId};
use wire::keys::{IdentityPublic, SphinxPublic};
use wire::time::{Instant, UnixTime};
use zeroize::Zeroizing;

/// Rounds of handing orders to and fro; a first contact needs three.
const ROUNDS_MAX: usize = 50;

/// One person to be.
pub struct Person {
    /// What they call themselves.
    pub name: String,
    /// Their entry gateway, where no inbox of theirs may lie.
    pub entry: NodeId,
}

/// Rows of a client's store.
pub type Rows = BTreeMap<(Table, Vec<u8>), Zeroizing<Vec<u8>>>;

struct Party {
    messenger: Messenger,
    rows: Rows,
    inboxes: Vec<InboxId>,
}

/// Who knows whom: first and second, third and fourth, …; an odd last one knows the first.
pub fn pairs(people: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..people)
        .step_by(2)
        .map(move |i| if i + 1 < people { (i, i + 1) } else { (0, i) })
}

/// Makes people contacts by [`pairs`]; gives each one's rows.
pub fn acquaint(
    people: &[Person],
    network: NetworkId,
    schedule: EpochSchedule,
    gateways: &[IdentityPublic],
    entropy: &mut Entropy,
) -> Result<Vec<Rows>> {
    let unix = schedule.genesis;
    let directory = Arc::new(rehearsal_directory(network, schedule, gateways)?);
    let mut parties = Vec::new();
    for person in people {
        let messenger = Messenger::new(MessengerConfig::new(network), entropy.key_rng()?);
        let mut party = Party {
            messenger,
            rows: Rows::new(),
            inboxes: Vec::new(),
        };
        let directory = directory.clone();
        party
            .messenger
            .handle_directory(directory, person.entry, Instant::ZERO, unix);
        parties.push(party);
    }
    for (one, other) in pairs(people.len()) {
        let day = Duration::from_secs(86_400);
        let card = parties[one].messenger.handle_create_card(
            &people[one].name,
            day,
            Instant::ZERO,
            unix,
        )?;
        settle(&mut parties, unix)?;
        let name = &people[other].name;
        parties[other]
            .messenger
            .handle_add_card(&card, name, Instant::ZERO, unix)?;
        settle(&mut parties, unix)?;
    }
    for (i, (party, person)) in parties.iter().zip(people).enumerate() {
        let expected = pairs(people.len())
            .filter(|(a, b)| *a == i || *b == i)
            .count();
        let found = party.messenger.contacts().count();
        if found != expected {
            bail!(
                "{} has {found} contacts after the rehearsal, not {expected}",
                person.name
            );
        }
    }
    Ok(parties.into_iter().map(|party| party.rows).collect())
}

/// Hands cells and outcomes to and fro until nobody has anything to say.
fn settle(parties: &mut [Party], unix: UnixTime) -> Result<()> {
    for _ in 0..ROUNDS_MAX {
        let mut quiet = true;
        for i in 0..parties.len() {
            while let Some(event) = parties[i].messenger.poll_event() {
                quiet = false;
                if let Event::Write(record) = event {
                    write(&mut parties[i].rows, record);
                }
            }
            while let Some(order) = parties[i].messenger.poll_transmit() {
                quiet = false;
                carry_out(parties, i, order, unix);
            }
        }
        if quiet {
            return Ok(());
        }
    }
    Err(anyhow!("the messengers do not come to rest"))
}

fn carry_out(parties: &mut [Party], who: usize, order: Order, unix: UnixTime) {
    let now = Instant::ZERO;
    match order {
        Order::Open(own) => {
            parties[who].inboxes.push(own.inbox);
            let outcome = InboxOutcome::Opened { ttl: own.ttl };
            parties[who]
                .messenger
                .handle_inbox(own.inbox, outcome, now, unix);
        }
        Order::Close { inbox, .. } => parties[who].inboxes.retain(|i| *i != inbox),
        Order::Deposit {
            handle,
            address,
            cell_id,
            cell,
            ..
        } => {
            let reader = parties
                .iter()
                .position(|p| p.inboxes.contains(&address.inbox));
            let outcome = match reader {
                Some(_) => DepositOutcome::Stored,
                None => DepositOutcome::Refused,
            };
            parties[who]
                .messenger
                .handle_deposit(handle, DepositOutcome::Mixing, now);
            parties[who].messenger.handle_deposit(handle, outcome, now);
            if let Some(reader) = reader {
                let messenger = &mut parties[reader].messenger;
                messenger.handle_cell(address.inbox, cell_id, &cell, now, unix);
            }
        }
        Order::Class { .. } | Order::Acknowledge { .. } | Order::Cancel { .. } => {}
    }
}

fn write(rows: &mut Rows, record: Record) {
    match record.value {
        Some(value) => rows.insert((record.table, record.key), value),
        None => rows.remove(&(record.table, record.key)),
    };
}

/// The gateways as the real directory will name them, among mixes that nobody asks.
fn rehearsal_directory(
    network: NetworkId,
    schedule: EpochSchedule,
    gateways: &[IdentityPublic],
) -> Result<Directory> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let epoch = schedule.epoch_at(schedule.genesis);
    let node = |identity: IdentityPublic, role: Role, family: u8| NodeDescriptor {
        identity,
        role,
        family: Family([family; 16]),
        addresses: vec![address],
        client_addresses: if role == Role::Gateway {
            vec![address]
        } else {
            Vec::new()
        },
        sphinx_keys: vec![SphinxKey {
            epoch,
            format: FORMAT_SPHINX,
            key: SphinxPublic([9; 32]),
        }],
    };
    let mix = |n: u8| {
        let identity = wire::keys::IdentitySecret::from_seed(&[n; 32]).public();
        vec![node(identity, Role::Mix, n)]
    };
    let gates = gateways
        .iter()
        .zip(100..)
        .map(|(id, n)| node(*id, Role::Gateway, n))
        .collect();
    let preamble = Preamble {
        network,
        epoch,
        schedule,
        valid_from: schedule.genesis,
        valid_until: schedule.start(epoch.next()),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        parameters: Parameters::localnet(),
        shared_random: [0; 32],
        withheld: 0,
    };
    Directory::new(preamble, [mix(1), mix(2), mix(3)], gates).context("the rehearsal's directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_left_alone_and_pairs_are_apart() {
        let of = |people| pairs(people).collect::<Vec<_>>();
        assert_eq!(of(2), [(0, 1)]);
        assert_eq!(of(3), [(0, 1), (0, 2)]);
        assert_eq!(of(6), [(0, 1), (2, 3), (4, 5)]);
    }
}
