//! What the daemon says of itself: who it is, whether messages flow, and what a person must see.

use super::EventLoop;
use crate::api::types::{
    AnonymityStatus, BytesPerSecond, ClockStatus, DirectoryStatus, ExpectedDelay, GatewayStatus,
    GuardStatus, Health, Info, Queues, Status,
};
use anonymity::live;
use directory::LAYERS;
use messaging::ContactId;
use mizzle_core::latency;
use std::time::Duration;
use wire::geometry::{FRAME_LEN, TLS_OVERHEAD_LEN};

/// A frame is built so long before its moment; the contact's client does the same.
const LEAD: Duration = Duration::from_millis(20);
/// Taken for the time on one link.
const LINK: Duration = Duration::from_millis(30);

impl EventLoop {
    pub(super) fn info(&self) -> Info {
        let network = self.client.view().held().next_back().map(|d| d.network);
        Info {
            daemon: "clientd".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api: "v1".to_owned(),
            network: network.map(|n| directory::hex::encode(&n.0)),
            contact: ContactId::of(&self.messenger.identity()).to_string(),
            name: self.name.clone(),
            text_max: messaging::BODY_MAX,
        }
    }

    pub(super) fn health(&self) -> Health {
        let now = self.clock.now();
        let directory_valid = self.client.view().current(now).is_some();
        let loop_returned = self.client.losses().total().returned > 0;
        let (inboxes_wanted, inboxes_open) = self.client.inboxes_len();
        let connected = self.state.connected;
        let opened = inboxes_open >= inboxes_wanted;
        let disk_has_room = self.storage.has_room();
        Health {
            ready: connected && directory_valid && loop_returned && opened && disk_has_room,
            connected,
            directory_valid,
            loop_returned,
            disk_has_room,
            degraded: self.state.degraded.clone(),
            split_view_proven: self.state.split.is_proven(),
            inboxes_wanted,
            inboxes_open,
        }
    }

    pub(super) fn status(&self) -> Status {
        let health = self.health();
        let counters = self.client.counters();
        let (outbox_waiting, outbox_on_their_way) = self.client.outbox_len();
        let losses = self.client.losses();
        let gateways = losses.iter().map(|(gateway, l)| GatewayStatus {
            gateway: gateway.to_string(),
            sent: l.sent,
            returned: l.returned,
            late: l.late,
            lost: l.lost,
            lossy: l.lossy(),
        });
        let files = self.messenger.files_out();
        let span = self.durable.borrow().span;
        let (events_kept, events_bytes) = self.history.size();
        Status {
            ready: health.ready,
            connected: health.connected,
            connections: self.state.connections,
            guard: self.guard_status(),
            directory: self.directory_status(),
            directory_problem: self.state.directory_problem.clone(),
            clock: self.clock_status(),
            split_view: self.state.split.status(),
            alarms: self.alarms(),
            gateways: gateways.collect(),
            queues: Queues {
                outbox_waiting,
                outbox_on_their_way,
                inboxes_wanted: health.inboxes_wanted,
                inboxes_open: health.inboxes_open,
                files_out: files.all,
                files_sending: files.sending,
                files_waiting: files.waiting,
                commits_pending: self.state.pending.len(),
            },
            packets_sent: counters.sent,
            packets_cover: counters.covers,
            packets_discarded: counters.discards.iter().map(|(_, n)| n).sum(),
            idle_ticks: counters.idle_ticks,
            bytes_per_second: self.bytes_per_second(),
            expected_delay: self.expected_delay(),
            anonymity: self.anonymity(),
            events_kept,
            events_bytes,
            files_bytes: self.files.used_bytes(),
            files_bytes_max: self.limits.files_bytes_max,
            events_first: span.first,
            events_last: span.last(),
        }
    }

    fn guard_status(&self) -> GuardStatus {
        const DAY: u64 = 86_400;
        let unix = self.clock.unix();
        let guard = self.state.guard;
        GuardStatus {
            gateway: self.client.entry().to_string(),
            pinned: self.entry_pinned,
            since_days: guard.map(|g| unix.saturating_since(g.since).as_secs() / DAY),
            days_left: guard.map(|g| g.until.saturating_since(unix).as_secs() / DAY),
        }
    }

    fn clock_status(&self) -> Option<ClockStatus> {
        let clock = self.state.gateway_clock?;
        Some(clock.status(self.clock.anchor()))
    }

    fn directory_status(&self) -> Option<DirectoryStatus> {
        let unix = self.clock.unix();
        let current = self.client.view().current(self.clock.now())?;
        Some(DirectoryStatus {
            epoch: current.epoch.0,
            age_seconds: unix.saturating_since(current.valid_from).as_secs(),
            valid_for_seconds: current.valid_until.saturating_since(unix).as_secs(),
        })
    }

    /// What a person must see (design §1).
    fn alarms(&self) -> Vec<String> {
        let mut alarms = Vec::new();
        let lossy = self.client.losses().iter().filter(|(_, l)| l.lossy());
        for (gateway, _) in lossy {
            alarms.push(format!("many replies of gateway {gateway} are missing"));
        }
        if !self.storage.has_room() {
            alarms.push("the disk is full: nothing new is taken until there is room".to_owned());
        }
        alarms.extend(self.state.degraded.clone());
        alarms.extend(self.too_old());
        alarms.extend(self.state.split.alarms());
        let clock = self.clock_status().filter(|clock| clock.wrong);
        alarms.extend(clock.map(|clock| clock.says));
        if let Some(problem) = &self.state.directory_problem {
            alarms.push(format!("a directory was refused: {problem}"));
        }
        alarms
    }

    /// Why nothing is sent, where no directory holds.
    fn too_old(&self) -> Option<String> {
        let current = self.client.view().current(self.clock.now());
        let newest = self.state.newest.as_ref().filter(|_| current.is_none())?;
        let (unix, epoch) = (self.clock.unix(), newest.epoch);
        let over = unix.saturating_since(newest.valid_until);
        Some(match newest.check_not_expired(unix) {
            Err(_) => format!(
                "nothing is sent: the newest directory, of epoch {epoch}, is over since {}, and none came after \
                 it. Check this machine's clock; if it is right, the entry gateway or the authorities are down",
                in_words(over)
            ),
            Ok(()) => format!(
                "nothing is sent: the newest directory, of epoch {epoch}, does not hold yet by this machine's \
                 clock; check that"
            ),
        })
    }

    fn bytes_per_second(&self) -> BytesPerSecond {
        let record = (FRAME_LEN + TLS_OVERHEAD_LEN) as f64;
        let current = self.client.view().current(self.clock.now());
        let (up, down) = current.map_or((0.0, 0.0), |d| {
            let p = &d.parameters;
            let up = p.payload_rate.per_second() + p.loop_rate.per_second();
            (up, p.downlink_rate.per_second())
        });
        BytesPerSecond {
            up: (up * record) as u64,
            down: (down * record) as u64,
        }
    }

    fn anonymity(&self) -> Option<AnonymityStatus> {
        let directory = self.client.view().current(self.clock.now())?;
        let p = &directory.parameters;
        let widths = (0..LAYERS).map(|layer| directory.layer(layer).len());
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let figure = live::client_figure(&live::ClientView {
            emission: p.payload_rate.per_second() + p.loop_rate.per_second(),
            node_loops: p.mix_loop_rate.per_second(),
            mean_hop: p.delay_mean.as_secs_f64(),
            layers: count(LAYERS),
            width: count(widths.max().unwrap_or(1)),
            gateways: count(directory.gateways().len()),
        });
        Some(AnonymityStatus {
            pool_alone: figure.pool_alone,
            best_guess_alone: figure.best_guess_alone.value,
            clients_for_floor: figure.clients_for_floor,
            needs_others: figure.needs_others,
            rates_sound: figure.rates_sound,
        })
    }

    fn expected_delay(&self) -> Option<ExpectedDelay> {
        let now = self.clock.now();
        let p = &self.client.view().current(now)?.parameters;
        let [favourite, contacts, _] = self.client.fetch_numbers(now)?;
        let place = |places| latency::one_way(p, (1, places), LEAD, LINK);
        let spread = place(contacts.places.max(1));
        let target = Duration::from_secs_f64((2.0 * place(1).mean).max(60.0));
        let places = latency::places_within(p, target, LEAD, LINK);
        // A contact has more than one inbox: one for each period that cells may still come in.
        let known = self.messenger.contacts().count().max(1);
        let each = contacts.inboxes.div_ceil(known).max(1);
        let ms = |seconds: f64| (seconds * 1_000.0) as u64;
        Some(ExpectedDelay {
            mean_ms: ms(spread.mean),
            median_ms: ms(spread.median()),
            p99_ms: ms(spread.p99()),
            fetch_every_ms: ms(contacts.wait.as_secs_f64()),
            fetch_favourite_every_ms: ms(favourite.wait.as_secs_f64()),
            contacts_ceiling: places / each,
            ceiling_for_ms: ms(target.as_secs_f64()),
        })
    }
}

/// In the unit that a person would take.
fn in_words(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7_200 => format!("{} min", s / 60),
        s @ 7_200..172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
