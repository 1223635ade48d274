//! The event log against a naive model: what each reader still has to see, and what must be gone.

use super::*;
use crate::api::types::Scope;
use crate::storage::SharedStore;
use std::collections::BTreeSet;
use std::path::Path;
use tokio::sync::watch;
use wire::aead::SealKey;
use wire::rng::KeyRng;

const LIMITS: HistoryLimits = HistoryLimits {
    events: 1_000,
    bytes: 1 << 20,
    age: Duration::from_secs(3_600),
};

fn open(folder: &Path) -> ClientStore {
    let key = SealKey::from_bytes([1; 32]);
    ClientStore::open(folder, key, KeyRng::from_seed([2; 32]), |_, _| None).unwrap()
}

fn contact(n: u8) -> ContactId {
    ContactId([n; 16])
}

fn event(of: u8, text: &str) -> ApiEvent {
    ApiEvent::MessageReceived {
        contact: contact(of).to_string(),
        name: "a".into(),
        message_id: "0".repeat(32),
        text: text.into(),
        composed_ms: 7,
        file: None,
    }
}

fn app(id: u32, contacts: Option<&[u8]>) -> App {
    let scopes = BTreeSet::from([Scope::MessagesRead]);
    let contacts = contacts.map(|list| list.iter().map(|n| contact(*n)).collect());
    App::new(
        id,
        format!("app {id}"),
        scopes,
        contacts,
        &format!("mzl_{id}"),
        UnixTime(1),
    )
}

/// A store, its log, and readers of what is durable.
struct Desk {
    _folder: tempfile::TempDir,
    store: SharedStore,
    log: History,
    limits: HistoryLimits,
    durable: watch::Sender<Durable>,
    reader: EventReader,
}

impl Desk {
    fn new(limits: HistoryLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store"));
        let log = History::restore(&store, limits, true).unwrap();
        let store = SharedStore::new(store);
        let (durable, followed) = watch::channel(log.durable());
        Self {
            _folder: folder,
            reader: EventReader::new(store.clone(), followed),
            store,
            log,
            limits,
            durable,
        }
    }

    /// One batch.
    fn does<T>(&mut self, work: impl FnOnce(&mut History, &mut Vec<Write>) -> T) -> T {
        let mut writes = Vec::new();
        let done = work(&mut self.log, &mut writes);
        self.store.lock().commit(&writes).unwrap();
        self.durable.send_replace(self.log.durable());
        done
    }

    fn tell(&mut self, of: u8, text: &str) {
        self.does(|log, w| log.append(&[event(of, text)], UnixTime(1_000), w));
    }

    fn restart(&mut self) {
        let before = self.log.durable();
        self.log = History::restore(&self.store.lock(), self.limits, true).unwrap();
        assert_eq!(self.log.span(), before.span);
        assert_eq!(self.log.size().0, self.log.kept.len());
        self.durable.send_replace(self.log.durable());
    }

    /// Numbers that a reader sees behind its place, page by page; a gap as 0 and how much is missed.
    async fn unread(&self, id: u32) -> (Vec<u64>, u64) {
        let app = self.log.roster().app(id).cloned();
        let mut after = self.log.roster().place(id).unwrap().acknowledged;
        let (mut seen, mut missed) = (Vec::new(), 0);
        while after < self.log.span().last() {
            let page = self.reader.page(app.clone(), after, 7).await.unwrap();
            for told in page.events {
                let json: serde_json::Value = serde_json::from_str(&told.json).unwrap();
                assert_eq!(json["cursor"], told.number);
                assert_eq!(json["type"], told.name.as_str());
                match told.name.as_str() {
                    "gap" => missed += json["missed"].as_u64().unwrap(),
                    _ => seen.push(told.number),
                }
            }
            assert!(page.through > after || after >= self.log.span().last());
            after = page.through.max(after);
        }
        (seen, missed)
    }
}

#[tokio::test]
async fn what_all_have_acknowledged_is_erased_and_nothing_else() {
    let mut desk = Desk::new(LIMITS);
    desk.does(|log, w| log.add_app(app(1, None), false, w));
    desk.does(|log, w| log.add_app(app(2, Some(&[7])), false, w));
    for n in 0..6 {
        desk.tell(if n % 2 == 0 { 7 } else { 8 }, "hello");
    }
    assert_eq!(desk.unread(1).await.0, [1, 2, 3, 4, 5, 6]);
    assert_eq!(desk.unread(2).await.0, [1, 3, 5]);
    assert!(desk.does(|log, w| log.acknowledge(1, 6, w)));
    assert_eq!(desk.log.size().0, 6, "the owner has read nothing");
    assert!(desk.does(|log, w| log.acknowledge(OWNER, 4, w)));
    let kept: Vec<u64> = desk.log.kept.keys().copied().collect();
    assert_eq!(
        kept,
        [1, 3, 5, 6],
        "the second application waits for its contact's alone"
    );
    desk.restart();
    assert_eq!(desk.unread(2).await.0, [1, 3, 5]);
    assert_eq!(desk.unread(OWNER).await.0, [5, 6]);
    assert!(
        !desk.does(|log, w| log.acknowledge(1, 7, w)),
        "there is no event 7"
    );
    assert!(
        !desk.does(|log, w| log.acknowledge(9, 1, w)),
        "there is no application 9"
    );
    assert!(desk.does(|log, w| log.revoke(2, w)));
    assert!(!desk.does(|log, w| log.revoke(2, w)) && !desk.does(|log, w| log.revoke(OWNER, w)));
    let kept: Vec<u64> = desk.log.kept.keys().copied().collect();
    assert_eq!(kept, [5, 6]);
    assert!(desk.does(|log, w| log.acknowledge(OWNER, 6, w)));
    assert_eq!((desk.log.size(), desk.log.span().first), ((0, 0), 7));
    assert!(desk.store.lock().scan(TABLE_EVENTS).unwrap().is_empty());
    desk.tell(7, "goes on");
    desk.restart();
    assert_eq!(desk.unread(1).await.0, [7]);
    assert_eq!(desk.does(|log, w| log.add_app(app(3, None), true, w)).id, 3);
    assert_eq!(desk.unread(3).await.0, [7]);
}

#[tokio::test]
async fn limits_cost_the_oldest_and_each_reader_is_told_how_many() {
    let limits = HistoryLimits {
        events: 4,
        ..LIMITS
    };
    let mut desk = Desk::new(limits);
    desk.does(|log, w| log.add_app(app(1, Some(&[7])), false, w));
    for n in 0..10 {
        desk.tell(if n % 2 == 0 { 7 } else { 8 }, "hello");
    }
    assert_eq!(desk.unread(OWNER).await, (vec![7, 8, 9, 10], 6));
    assert_eq!(desk.unread(1).await, (vec![7, 9], 3));
    desk.restart();
    assert_eq!(desk.unread(1).await, (vec![7, 9], 3));
    desk.does(|log, w| log.acknowledge(1, 7, w));
    assert_eq!(desk.unread(1).await, (vec![9], 0), "told once");
    // Bytes: one long text pushes out the rest.
    let mut desk = Desk::new(HistoryLimits {
        bytes: 3_000,
        ..LIMITS
    });
    desk.tell(7, "short");
    desk.tell(7, &"x".repeat(9_000));
    assert_eq!(desk.unread(OWNER).await, (vec![2], 1));
    // Age.
    desk.does(|log, w| log.expire(UnixTime(1_000 + 3_600_000), w));
    assert_eq!(desk.log.size().0, 1);
    desk.does(|log, w| log.expire(UnixTime(1_001 + 3_600_000), w));
    assert_eq!(desk.unread(OWNER).await, (vec![], 2));
    assert_eq!(desk.log.size(), (0, 0));
}

#[tokio::test]
async fn a_long_text_takes_several_rows_and_comes_whole() {
    let mut desk = Desk::new(LIMITS);
    let text = "\u{1}".repeat(messaging::BODY_MAX / 2);
    desk.tell(7, &text);
    desk.restart();
    let page = desk.reader.page(None, 0, 10).await.unwrap();
    let record: crate::api::types::EventRecord =
        serde_json::from_str(&page.events[0].json).unwrap();
    assert_eq!((record.cursor, record.at_ms), (1, 1_000));
    assert!(record.event == event(7, &text));
    assert!(desk.store.lock().scan(TABLE_EVENTS).unwrap().len() > 10);
    desk.does(|log, w| log.acknowledge(OWNER, 1, w));
    assert!(desk.store.lock().scan(TABLE_EVENTS).unwrap().is_empty());
}

#[tokio::test]
async fn a_wiped_conversation_is_told_to_nobody_any_more() {
    let mut desk = Desk::new(LIMITS);
    for of in [7, 8, 7] {
        desk.tell(of, "hello");
    }
    desk.does(|log, w| log.forget(&contact(7), w));
    desk.store.lock().wipe(store::VaultId([7; 16])).unwrap();
    desk.restart();
    assert_eq!(desk.unread(OWNER).await, (vec![2], 0));
}

#[tokio::test]
async fn progress_takes_the_place_of_older_progress() {
    let mut desk = Desk::new(LIMITS);
    let progress = |done| ApiEvent::FileProgress {
        contact: contact(7).to_string(),
        id: Some("f".into()),
        message_id: None,
        done,
        size: 9,
    };
    for done in 1..=9 {
        desk.does(|log, w| log.append(&[progress(done)], UnixTime(1), w));
    }
    assert_eq!(desk.unread(OWNER).await.0, [9]);
    let state = ApiEvent::MessageState {
        contact: contact(7).to_string(),
        id: "f".into(),
        state: "delivered".into(),
        reason: None,
    };
    desk.does(|log, w| log.append(&[state], UnixTime(1), w));
    assert_eq!(desk.unread(OWNER).await, (vec![10], 0));
}

#[test]
fn a_log_from_before_there_were_applications_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("store"));
    let json = serde_json::to_vec(&event(7, "old")).unwrap();
    let write = |table, key: &[u8], value| Write {
        table,
        key: key.to_vec(),
        value: Some(Zeroizing::new(value)),
        vault: None,
    };
    let span = [3u64.to_be_bytes(), 4u64.to_be_bytes()].concat();
    let rows = [
        write(TABLE_EVENTS, &3u64.to_be_bytes(), json.clone()),
        write(TABLE_SPAN, SPAN_KEY, span),
    ];
    store.commit(&rows).unwrap();
    let log = History::restore(&store, LIMITS, true).unwrap();
    let expected = Span {
        first: 3,
        next: 4,
        dropped: 2,
    };
    assert_eq!(log.span(), expected);
    let head = Row::head(&store.get(TABLE_EVENTS, &row::key(3, 0)).unwrap().unwrap());
    assert_eq!(&head.json[..], &json[..]);
}

#[test]
fn an_impossible_span_is_damage() {
    let span = |numbers: &[u64]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        Span::decode(&bytes)
    };
    for bad in [&[][..], &[1], &[0, 1], &[2, 1], &[1, 2, 2], &[1, 2, 0, 0]] {
        assert_eq!(span(bad), None, "{bad:?}");
    }
    assert_eq!(Span::decode(&[1; 17]), None);
    let good = span(&[1, 1, 0]).unwrap();
    assert_eq!(Span::decode(&good.encode()), Some(good));
}

/// What a reader must still see, by the simplest bookkeeping.
#[derive(Default, Clone)]
struct Model {
    told: Vec<(u64, u8)>,
    readers: BTreeMap<u32, (Option<Vec<u8>>, u64)>,
}

impl Model {
    fn unread(&self, id: u32) -> Vec<u64> {
        let (contacts, acknowledged) = &self.readers[&id];
        let sees = |of: &u8| contacts.as_ref().is_none_or(|c| c.contains(of));
        let unread = |(n, of): &&(u64, u8)| n > acknowledged && sees(of);
        self.told.iter().filter(unread).map(|t| t.0).collect()
    }
}

#[tokio::test]
async fn random_use_gives_each_reader_exactly_what_a_model_says() {
    for seed in 0..3 {
        let mut random = KeyRng::from_seed([seed; 32]);
        let mut desk = Desk::new(LIMITS);
        let mut model = Model::default();
        model.readers.insert(OWNER, (None, 0));
        for _ in 0..150 {
            let [verb, a, b] = random.bytes::<3>();
            let ids: Vec<u32> = model.readers.keys().copied().collect();
            let id = ids[usize::from(a) % ids.len()];
            match verb % 10 {
                0..=4 => {
                    let of = a % 4;
                    desk.tell(of, "x");
                    model.told.push((desk.log.span().last(), of));
                }
                5..=7 => {
                    let last = desk.log.span().last();
                    let through = last.saturating_sub(u64::from(b % 5));
                    assert!(desk.does(|log, w| log.acknowledge(id, through, w)));
                    let place = &mut model.readers.get_mut(&id).unwrap().1;
                    *place = through.max(*place);
                }
                8 => {
                    let only = (b % 2 == 0).then(|| vec![a % 4, b % 4]);
                    let next = desk.log.roster().next_id();
                    let new = app(next, only.as_deref());
                    desk.does(|log, w| log.add_app(new, false, w));
                    model.readers.insert(next, (only, desk.log.span().last()));
                }
                _ if b % 2 == 0 => desk.restart(),
                _ => {
                    let was = id != OWNER;
                    assert_eq!(desk.does(|log, w| log.revoke(id, w)), was);
                    if was {
                        model.readers.remove(&id);
                    }
                }
            }
            let mut needed = BTreeSet::new();
            for id in model.readers.keys() {
                let expected = model.unread(*id);
                assert_eq!(desk.unread(*id).await, (expected.clone(), 0), "seed {seed}");
                needed.extend(expected);
            }
            let kept: BTreeSet<u64> = desk.log.kept.keys().copied().collect();
            assert_eq!(kept, needed, "seed {seed}: nothing is kept for nobody");
        }
    }
}

const WANTED: u64 = 10_000;
const FOLDER_VARIABLE: &str = "MIZZLE_TEST_EVENTS";

/// The process that the test below kills: writes events in batches, and says after each how many are
/// durable.
#[test]
#[ignore = "is run by a test that kills it"]
fn writes_events_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else {
        return;
    };
    let mut store = open(Path::new(&folder));
    let limits = HistoryLimits {
        events: WANTED,
        bytes: 64 << 20,
        ..LIMITS
    };
    let mut log = History::restore(&store, limits, true).unwrap();
    while log.span().last() < WANTED {
        let mut writes = Vec::new();
        if log.roster().len() < 2 {
            let id = log.roster().next_id();
            log.add_app(app(id, None), true, &mut writes);
        }
        let number = log.span().next;
        let batch: Vec<_> = (number..)
            .take(50)
            .map(|n| event(7, &n.to_string()))
            .collect();
        log.append(&batch, UnixTime(1_000), &mut writes);
        store.commit(&writes).unwrap();
        println!("durable {}", log.span().last());
    }
}

/// Ten thousand events that nobody acknowledged survive a writer that is killed again and again.
#[test]
fn unacknowledged_events_survive_kill_9() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut random = KeyRng::from_seed([3; 32]);
    let (mut durable, mut kills) = (0, 0);
    while durable < WANTED {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("history::tests::writes_events_until_it_is_killed")
            .env(FOLDER_VARIABLE, &path)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let patience = 10 + u32::from(random.bytes::<1>()[0]) / 4;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.map_while(Result::ok).filter_map(|line| {
            let number = line.split("durable ").nth(1)?;
            number.trim().parse::<u64>().ok()
        });
        let mut heard = 0;
        for number in said {
            durable = number;
            heard += 1;
            if heard == patience {
                child.kill().unwrap();
                kills += 1;
                break;
            }
        }
        child.wait().unwrap();
        let store = open(&path);
        let limits = HistoryLimits {
            events: WANTED,
            bytes: 64 << 20,
            ..LIMITS
        };
        let log = History::restore(&store, limits, true).unwrap();
        assert!(
            log.span().last() >= durable,
            "{} < {durable}",
            log.span().last()
        );
        durable = log.span().last();
    }
    assert!(kills >= 2, "{kills} kills");
    let store = open(&path);
    let limits = HistoryLimits {
        events: WANTED,
        bytes: 64 << 20,
        ..LIMITS
    };
    let log = History::restore(&store, limits, true).unwrap();
    assert_eq!((log.size().0 as u64, log.roster().len()), (WANTED, 2));
    for number in 1..=WANTED {
        let row = store
            .get(TABLE_EVENTS, &row::key(number, 0))
            .unwrap()
            .unwrap();
        let told: ApiEvent = serde_json::from_slice(&Row::head(&row).json).unwrap();
        assert!(told == event(7, &number.to_string()));
    }
}
