//! What is seen of a client does not depend on what it does: with equal seeds an idle client, a busy
//! one and one whose inbox gateway is dead emit the same frames at the same moments over the same
//! mixes with the same delays, and their entry gateway sends them the same.
//!
//! The same with people: the shipped `Messenger` owns the client and chats, sends a file, gets one, sends
//! again what a third of lost round trips takes, over an entry gateway that restarts and an inbox
//! gateway that dies.
//!
//! A comparator is worth what it finds: each fault planted here must show.
#![allow(clippy::unwrap_used)] // Helpers of a test fail by panicking, like the test itself.

#[path = "support/people.rs"]
#[allow(dead_code)] // Shared with `files`, which uses the rest.
mod people;

use directory::{Directory, Rate};
use messaging::Draft;
use people::People;
use simulations::clock::START;
use simulations::network::LinkModel;
use simulations::observer::{Echo, HopSeen};
use simulations::{Actor, Engine, Faults, Scenario, Transparent};
use sphinx::{BuildError, DiscardReason, Hop, PacketFormat, PayloadBytes, Unwrapped};
use std::sync::LazyLock;
use std::time::Duration;
use wire::frame::PacketBytes;
use wire::geometry::SURB_LEN;
use wire::ids::{NextHop, SurbId};
use wire::keys::SphinxPublic;
use wire::request::{Plaintext, SurbBytes};
use wire::rng::KeyRng;
use wire::time::Instant;

/// Whom we watch. It enters at gateway 0, has its inbox at gateway 1, and writes to one at
/// gateway 2.
const WATCHED: usize = 0;
const OTHER: usize = 1;
const MESSAGES: usize = 100;
/// Echoes that left later than this before the end may still be on their way.
const SETTLE: Duration = Duration::from_secs(10);

/// What the watched client does.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    /// Nothing.
    Idle,
    /// Sends and receives a hundred messages.
    Busy,
    /// The same, but the gateway of its inbox dies in the middle, and stays dead.
    BusyDeadInbox,
    /// Nothing, while that gateway dies.
    IdleDeadInbox,
}

/// All that is observable of the watched client in one run.
struct Seen {
    uplink: Vec<(Instant, usize)>,
    downlink: Vec<(Instant, usize)>,
    echoes: Vec<Echo>,
    sent: usize,
    received: usize,
    end: Instant,
}

fn scenario() -> Scenario {
    let mut scenario = Scenario::small(7);
    scenario.entries = vec![0, 0, 1];
    // Other traffic moves nothing, as `network` says, and takes most of the time.
    scenario.parameters.mix_loop_rate = Rate(1_000);
    // An epoch's change lies within each run.
    scenario.epoch_length = Duration::from_secs(60);
    scenario
}

/// An idle client in an honest network, which every test compares with.
static IDLE: LazyLock<Seen> = LazyLock::new(|| watch::<Transparent>(scenario(), Use::Idle));

fn watch<F: PacketFormat>(scenario: Scenario, what: Use) -> Seen {
    let mut engine = Engine::<F>::new(scenario);
    let busy = matches!(what, Use::Busy | Use::BusyDeadInbox);
    engine.run_for(Duration::from_secs(3));
    let mut inboxes = None;
    if busy {
        inboxes = Some((engine.open(WATCHED, 1), engine.open(OTHER, 2)));
    }
    engine.run_for(Duration::from_secs(5));
    for i in 0..MESSAGES {
        if let Some((own, others)) = &inboxes {
            engine.deposit(WATCHED, others);
            engine.deposit(OTHER, own);
        }
        if i == MESSAGES / 2 && matches!(what, Use::BusyDeadInbox | Use::IdleDeadInbox) {
            engine.kill(1);
        }
        // Bursts and pauses, at moments that have nothing to do with any tick.
        engine.run_for(Duration::from_millis(if i % 10 == 0 { 2_017 } else { 83 }));
    }
    engine.run_for(Duration::from_secs(45));
    if let Some((own, _)) = &inboxes {
        let inbox = own.inbox;
        engine.with_client(WATCHED, |sut, now| sut.handle_close(inbox, now));
    }
    engine.run_for(Duration::from_secs(20));
    seen(&engine)
}

fn seen<F: PacketFormat>(engine: &Engine<F>) -> Seen {
    let (client, entry) = (Actor::Client(WATCHED), Actor::Gateway(0));
    let told = &engine.clients()[WATCHED].told;
    let observer = engine.observer();
    Seen {
        uplink: observer.link(client, entry),
        downlink: observer.link(entry, client),
        echoes: observer.echoes_of(client).cloned().collect(),
        sent: told.stored.len(),
        received: told.cells.len(),
        end: engine.now(),
    }
}

/// Everything of a hop but which gateway answered: that is what is carried.
fn comparable(echo: &Echo) -> Vec<(Option<Actor>, HopSeen)> {
    let hop = |(i, hop): (usize, &HopSeen)| {
        let at = (echo.answered != Some(i)).then_some(hop.at);
        let same = Actor::Gateway(0);
        (at, HopSeen { at: same, ..*hop })
    };
    echo.hops.iter().enumerate().map(hop).collect()
}

/// The first thing in which two runs differ, in words.
fn difference(a: &Seen, b: &Seen) -> Option<String> {
    let links = [
        ("uplink", &a.uplink, &b.uplink),
        ("downlink", &a.downlink, &b.downlink),
    ];
    for (name, a, b) in links {
        if let Some(i) = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i)) {
            return Some(format!(
                "{name} frame {i}: {:?} or {:?}",
                a.get(i),
                b.get(i)
            ));
        }
    }
    if a.echoes.len() != b.echoes.len() {
        return Some(format!("{} or {} echoes", a.echoes.len(), b.echoes.len()));
    }
    for (i, (a, b)) in a.echoes.iter().zip(&b.echoes).enumerate() {
        let (hops_a, hops_b) = (comparable(a), comparable(b));
        // Where a dead gateway answered no more, the way there is all there is.
        let both = hops_a.len().min(hops_b.len());
        if a.sent != b.sent || hops_a[..both] != hops_b[..both] {
            return Some(format!("echo {i}: {a:?} or {b:?}"));
        }
    }
    None
}

/// Every echo went all the way there and back, so that comparing them compares all draws.
fn whole(seen: &Seen) -> bool {
    let settled = |e: &&Echo| e.sent + SETTLE < seen.end;
    let mut settled = seen.echoes.iter().filter(settled);
    settled.all(|e| e.hops.len() == 9 && e.answered == Some(4) && e.returned.is_some())
}

#[test]
fn idle_and_busy_look_the_same() {
    let idle = &*IDLE;
    let busy = watch::<Transparent>(scenario(), Use::Busy);
    assert_eq!((idle.sent, idle.received), (0, 0));
    assert_eq!((busy.sent, busy.received), (MESSAGES, MESSAGES));
    assert!(idle.uplink.len() > 500, "{}", idle.uplink.len());
    assert!(idle.downlink.len() > 1_000, "{}", idle.downlink.len());
    assert!(whole(idle) && whole(&busy));
    assert_eq!(difference(idle, &busy), None);
}

#[test]
fn a_dead_inbox_gateway_shows_nothing() {
    let idle = &*IDLE;
    let dead = watch::<Transparent>(scenario(), Use::BusyDeadInbox);
    assert_eq!(dead.sent, MESSAGES, "its own deposits lie elsewhere");
    assert!(
        dead.received > 10 && dead.received < MESSAGES,
        "{}",
        dead.received
    );
    assert_eq!(difference(idle, &dead), None);
    // Idle and busy over the same dead gateway, so that both know the same of the network.
    let idle_dead = watch::<Transparent>(scenario(), Use::IdleDeadInbox);
    assert_eq!(difference(&idle_dead, &dead), None);
}

/// What the person at the watched client does, from the first second on.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Deed {
    Nothing,
    Chats,
    SendsAFile,
    GetsAFile,
}

/// What happens to the network meanwhile.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Trouble {
    None,
    /// Three round trips in ten are lost.
    Loss,
    /// The watched client's entry gateway dies and comes back.
    Reconnect,
    /// A gateway with inboxes of both dies for good.
    DeadInbox,
    /// Epochs follow each other, and nothing else happens.
    Epochs,
    /// One directory lacks a gateway, the next one another, and each is back after that.
    LeftOut,
    /// One directory lacks the entry gateway.
    EntryLeftOut,
    /// One directory lacks a mix, which no route takes from some time before that on.
    MixLeftOut,
    /// A directory marks a mix for losing traffic, and no route takes it.
    Marked,
    /// A gateway goes by another directory than everybody else: it is fetched from there, part by part.
    SplitView,
}

impl Trouble {
    /// Whether it is about directories that follow each other.
    fn of_directories(self) -> bool {
        match self {
            Self::None | Self::Loss | Self::Reconnect | Self::DeadInbox => false,
            Self::Epochs
            | Self::LeftOut
            | Self::EntryLeftOut
            | Self::MixLeftOut
            | Self::Marked
            | Self::SplitView => true,
        }
    }

    /// So long that there are some epochs in a run, where it is about those.
    fn epoch_length(self) -> Duration {
        Duration::from_secs(if self.of_directories() { 30 } else { 60 })
    }

    /// What it does to directories, from the second one on.
    fn begin(self, engine: &mut Engine<Transparent>) {
        match self {
            Self::LeftOut => engine.silence(Actor::Gateway(2), true),
            Self::EntryLeftOut => engine.silence(Actor::Gateway(0), true),
            Self::MixLeftOut => engine.silence(Actor::Mix(0), true),
            Self::Marked => engine.amend(|_, directory| marked(directory)),
            Self::SplitView => engine.amend(|who, directory| {
                let other = who == Actor::Gateway(3);
                other.then(|| marked(directory)).flatten()
            }),
            Self::None | Self::Loss | Self::Reconnect | Self::DeadInbox | Self::Epochs => {}
        }
    }

    /// What happens in the `n`th step of the talk.
    fn step(self, n: usize, engine: &mut Engine<Transparent>) {
        match (self, n) {
            (Self::Reconnect, 4) => engine.kill(0),
            (Self::Reconnect, 5) => engine.restart(0),
            (Self::DeadInbox, 4) => engine.kill(2),
            // The directory of the second epoch is voted on; that of the third will be.
            (Self::LeftOut, 8) => {
                engine.silence(Actor::Gateway(2), false);
                engine.silence(Actor::Gateway(3), true);
            }
            (Self::EntryLeftOut, 8) => engine.silence(Actor::Gateway(0), false),
            (Self::MixLeftOut, 8) => engine.silence(Actor::Mix(0), false),
            _ => {}
        }
        // What a trouble is about did happen, and was over where it says so.
        let lacking = match (self, n) {
            (Self::LeftOut | Self::EntryLeftOut | Self::MixLeftOut, 5) => [].as_slice(),
            (Self::LeftOut, 10) => &[Actor::Gateway(2)],
            (Self::LeftOut, 20) => &[Actor::Gateway(3)],
            (Self::EntryLeftOut, 10) => &[Actor::Gateway(0)],
            (Self::MixLeftOut, 10) => &[Actor::Mix(0)],
            (Self::EntryLeftOut | Self::MixLeftOut, 20) => &[],
            (Self::Marked, 10) => return assert_eq!(known(engine).marks().len(), 1),
            _ => return,
        };
        assert_eq!(lacks(engine), lacking, "{self:?}, step {n}");
    }
}

/// The watched client's directory.
fn known(engine: &Engine<Transparent>) -> &Directory {
    let view = engine.clients()[WATCHED].sut.view();
    view.current(engine.now()).unwrap()
}

/// Nodes that the watched client's directory has not.
fn lacks(engine: &Engine<Transparent>) -> Vec<Actor> {
    let gateways = engine.gateways().iter().map(|g| g.identity.id());
    let gateways = gateways.enumerate().map(|(i, id)| (Actor::Gateway(i), id));
    let mixes = engine.mixes().iter().map(|m| m.identity.id());
    let mixes = mixes.enumerate().map(|(i, id)| (Actor::Mix(i), id));
    let lacking = gateways
        .chain(mixes)
        .filter(|(_, id)| known(engine).position(id).is_none());
    lacking.map(|(actor, _)| actor).collect()
}

/// A directory with a mark on one mix.
fn marked(directory: &Directory) -> Option<Directory> {
    let mix = *directory.layer_ids(1).first()?;
    directory.clone().with_marks([(mix, 3)].into()).ok()
}

/// From here on every trouble that is about directories has changed one.
const CHANGED: Duration = Duration::from_secs(35);

fn live(deed: Deed, trouble: Trouble, faults: Faults) -> Seen {
    let mut scenario = scenario();
    scenario.faults = faults;
    scenario.gateways = 5;
    scenario.mixes_per_layer = 2;
    scenario.epoch_length = trouble.epoch_length();
    if trouble == Trouble::Loss {
        scenario.link = LinkModel {
            loss: 0.035,
            ..LinkModel::plain()
        };
    }
    let mut people = People::new(Engine::<Transparent>::new(scenario), 2);
    trouble.begin(&mut people.engine);
    if deed != Deed::Nothing {
        people.introduce(OTHER, WATCHED);
    }
    people.run_for(Duration::from_secs(12));
    match deed {
        Deed::Nothing | Deed::Chats => {}
        Deed::SendsAFile => people.send_file(WATCHED, OTHER, "file", 240_000),
        Deed::GetsAFile => people.send_file(OTHER, WATCHED, "file", 240_000),
    }
    for n in 0..20 {
        if deed == Deed::Chats {
            let text = |n: usize| Draft::text("x".repeat(n * 400));
            people.send(WATCHED, OTHER, &format!("a{n}"), text(n));
            people.send(OTHER, WATCHED, &format!("b{n}"), text(20 - n));
        }
        trouble.step(n, &mut people.engine);
        people.run_for(Duration::from_millis(2_013));
    }
    people.run_for(Duration::from_secs(20));
    trouble.step(20, &mut people.engine);
    people.run_for(Duration::from_secs(20));
    let saw = people.engine.clients()[WATCHED].told.split_views > 0;
    assert_eq!(saw, trouble == Trouble::SplitView, "{deed:?}");
    let (here, there) = (people.delivered(WATCHED), people.delivered(OTHER));
    match (deed, trouble) {
        (Deed::Nothing, _) => assert_eq!((here, there), (0, 0)),
        // What lay at the gateway that died may still be asked for.
        (Deed::Chats, Trouble::DeadInbox) => assert!(here > 5 && there > 5, "{here} {there}"),
        (Deed::Chats, _) => assert!(here > 10 && there > 10, "{here} {there}"),
        (Deed::SendsAFile, _) => assert!(people.persons[OTHER].records.len() > 10),
        (Deed::GetsAFile, _) => assert!(people.persons[WATCHED].records.len() > 10),
    }
    seen(&people.engine)
}

/// Whatever a person does, the same is seen as of one who does nothing in the same trouble. And were it not so from
/// the change of a directory on, it would be found.
fn nothing_shows(trouble: Trouble) {
    let idle = live(Deed::Nothing, trouble, Faults::default());
    assert!(idle.uplink.len() > 1_000, "{}", idle.uplink.len());
    for deed in [Deed::Chats, Deed::SendsAFile, Deed::GetsAFile] {
        let busy = live(deed, trouble, Faults::default());
        assert_eq!(difference(&idle, &busy), None, "{deed:?} {trouble:?}");
    }
    if !trouble.of_directories() {
        return;
    }
    let faults = Faults {
        late_when_busy: Some(CHANGED),
        ..Faults::default()
    };
    for deed in [Deed::Chats, Deed::SendsAFile] {
        let liar = live(deed, trouble, faults);
        let found = difference(&idle, &liar);
        let uplink = found.is_some_and(|d| d.starts_with("uplink"));
        assert!(uplink, "a liar passes: {deed:?} {trouble:?}");
        let before = |seen: &Seen| seen.uplink.partition_point(|(at, _)| *at < START + CHANGED);
        let honest = before(&idle);
        assert_eq!(idle.uplink[..honest], liar.uplink[..honest]);
    }
}

#[test]
fn people_look_the_same_whatever_they_do() {
    nothing_shows(Trouble::None);
}

#[test]
#[ignore = "takes a minute"]
fn people_look_the_same_under_loss() {
    nothing_shows(Trouble::Loss);
}

#[test]
#[ignore = "takes a minute"]
fn people_look_the_same_when_they_reconnect() {
    nothing_shows(Trouble::Reconnect);
}

#[test]
#[ignore = "takes a minute"]
fn people_look_the_same_with_a_dead_inbox_gateway() {
    nothing_shows(Trouble::DeadInbox);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_over_epochs() {
    nothing_shows(Trouble::Epochs);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_when_directories_leave_gateways_out() {
    nothing_shows(Trouble::LeftOut);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_when_a_directory_leaves_their_entry_out() {
    nothing_shows(Trouble::EntryLeftOut);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_when_a_mix_leaves() {
    nothing_shows(Trouble::MixLeftOut);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_with_a_mark() {
    nothing_shows(Trouble::Marked);
}

#[test]
#[ignore = "takes minutes"]
fn people_look_the_same_when_they_fetch_another_directory() {
    nothing_shows(Trouble::SplitView);
}

/// What these troubles do shows in the routes, so that the tests above compare what they say.
#[test]
#[ignore = "takes a minute"]
fn directories_do_change_what_is_seen() {
    let idle = |trouble| live(Deed::Nothing, trouble, Faults::default());
    let usual = idle(Trouble::Epochs);
    for trouble in [Trouble::MixLeftOut, Trouble::Marked] {
        let differs = difference(&usual, &idle(trouble));
        let seen = differs.as_ref().is_some_and(|d| d.starts_with("echo"));
        assert!(seen, "{trouble:?}: {differs:?}");
    }
    // Its keys are known from before, and whoever is left out for an epoch goes on serving.
    let lacking = idle(Trouble::EntryLeftOut);
    assert_eq!(difference(&usual, &lacking), None);
}

#[test]
fn another_seed_looks_different() {
    let other = Scenario {
        seed: 8,
        ..scenario()
    };
    let other = watch::<Transparent>(other, Use::Idle);
    assert!(difference(&IDLE, &other).is_some_and(|d| d.starts_with("uplink frame 0")));
}

/// Runs idle and busy with a fault and says how it shows.
fn found<F: PacketFormat>(faults: Faults) -> Option<String> {
    let scenario = || Scenario {
        faults,
        ..scenario()
    };
    difference(
        &watch::<F>(scenario(), Use::Idle),
        &watch::<F>(scenario(), Use::Busy),
    )
}

#[test]
fn sending_on_type_is_found() {
    let faults = Faults {
        send_on_type: true,
        ..Faults::default()
    };
    assert!(found::<Transparent>(faults).is_some_and(|d| d.starts_with("uplink")));
}

#[test]
fn a_microsecond_of_lateness_when_busy_is_found() {
    let faults = Faults {
        late_when_busy: Some(Duration::ZERO),
        ..Faults::default()
    };
    assert!(found::<Transparent>(faults).is_some_and(|d| d.starts_with("uplink")));
}

#[test]
fn a_changed_delay_in_what_carries_content_is_found() {
    // As if a tick that carries content drew its delays at another place of its stream.
    let found = found::<ContentWaitsLonger>(Faults::default());
    assert!(found.is_some_and(|d| d.starts_with("echo")));
}

#[test]
fn a_downlink_without_dummies_is_found() {
    let faults = Faults {
        no_dummies: true,
        ..Faults::default()
    };
    let scenario = || Scenario {
        faults,
        ..scenario()
    };
    let quiet = watch::<Transparent>(scenario(), Use::Idle);
    let quiet_dead = watch::<Transparent>(scenario(), Use::BusyDeadInbox);
    let on_the_downlink = |d: Option<String>| d.is_some_and(|d| d.starts_with("downlink"));
    assert!(on_the_downlink(difference(&IDLE, &quiet)));
    assert!(on_the_downlink(difference(&quiet, &quiet_dead)));
}

/// A packet format with a fault: what is not cover waits a nanosecond longer at its second hop.
struct ContentWaitsLonger;

impl PacketFormat for ContentWaitsLonger {
    type Secret = <Transparent as PacketFormat>::Secret;
    type Recovery = <Transparent as PacketFormat>::Recovery;

    fn generate(rng: &mut KeyRng) -> Self::Secret {
        Transparent::generate(rng)
    }

    fn public(secret: &Self::Secret) -> SphinxPublic {
        Transparent::public(secret)
    }

    fn build(
        route: &[Hop],
        plaintext: &Plaintext,
        rng: &mut KeyRng,
    ) -> Result<PacketBytes, BuildError> {
        let mut route = route.to_vec();
        let kind = plaintext[SURB_LEN + 8];
        if kind != 0 {
            route[1].delay += Duration::from_nanos(1);
        }
        Transparent::build(&route, plaintext, rng)
    }

    fn build_surb(
        route: &[Hop],
        id: SurbId,
        rng: &mut KeyRng,
    ) -> Result<(SurbBytes, Self::Recovery), BuildError> {
        Transparent::build_surb(route, id, rng)
    }

    fn unwrap(secret: &Self::Secret, packet: &PacketBytes) -> Result<Unwrapped, DiscardReason> {
        Transparent::unwrap(secret, packet)
    }

    fn use_surb(
        surb: &SurbBytes,
        plaintext: &Plaintext,
    ) -> Result<(NextHop, PacketBytes), DiscardReason> {
        Transparent::use_surb(surb, plaintext)
    }

    fn open_reply(
        recovery: &Self::Recovery,
        payload: PayloadBytes,
    ) -> Result<Plaintext, DiscardReason> {
        Transparent::open_reply(recovery, payload)
    }
}
