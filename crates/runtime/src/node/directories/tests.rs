//! The follower against a made-up authority that serves documents over HTTP.

use super::*;
use crate::http::{self, HttpLimits, Request, StatusCode};
use crate::shutdown::Shutdown;
use directory::testing::{authority_secret, directory_on, network_id, nobodys_key};
use directory::{EpochSchedule, NetworkAuthority, Parameters};
use std::net::SocketAddr;
use std::sync::Mutex;

const SEED: u64 = 3;

/// Epochs of an hour, the fifth of which began `into` ago.
fn schedule(clock: &Clock, into: Duration) -> EpochSchedule {
    let length = Duration::from_secs(3600);
    let back = u64::try_from((length * 5 + into).as_millis()).unwrap();
    EpochSchedule {
        genesis: UnixTime(clock.unix().0 - back),
        length,
    }
}

fn network(schedule: EpochSchedule, address: SocketAddr) -> Arc<Network> {
    let identity = authority_secret(SEED, 0).public();
    let authorities = vec![NetworkAuthority { identity, address }];
    Arc::new(Network::new(network_id(SEED), schedule, authorities, 1, Vec::new()).unwrap())
}

/// A signed directory by authority `index`; `previous` is the one before it.
fn document(
    schedule: EpochSchedule,
    epoch: Epoch,
    previous: Option<&Directory>,
    index: usize,
) -> (Directory, Vec<u8>) {
    let parameters = Parameters::localnet();
    let (mut map, _) = directory_on(schedule, SEED, (1, 1), epoch, parameters, nobodys_key);
    if let Some(previous) = previous {
        // The hash is of the bytes, so the change is made and read back.
        map.previous = previous.hash();
        map = Directory::decode_body(&map.encode_body()).unwrap();
    }
    let signed = SignedDirectory::sign(&map, 0, &authority_secret(SEED, index));
    (map, signed.encode())
}

type Shelf = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

async fn authority(shelf: Shelf, shutdown: Shutdown) -> SocketAddr {
    let listener = http::bind_loopback(0).await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = move |request: Request| {
        let found = shelf.lock().unwrap().get(request.uri().path()).cloned();
        async move {
            match found {
                Some(bytes) => http::respond(StatusCode::OK, "application/octet-stream", bytes),
                None => http::text(StatusCode::NOT_FOUND, "none yet\n"),
            }
        }
    };
    tokio::spawn(http::serve(
        listener,
        HttpLimits::default(),
        shutdown,
        handler,
    ));
    address
}

struct Fixture {
    shelf: Shelf,
    network: Arc<Network>,
    schedule: EpochSchedule,
    clock: Clock,
    dir: Arc<DataDir>,
    _parent: tempfile::TempDir,
}

impl Fixture {
    async fn new(into: Duration) -> Self {
        let clock = Clock::start();
        let schedule = schedule(&clock, into);
        let shelf = Shelf::default();
        let address = authority(shelf.clone(), Shutdown::manual()).await;
        let parent = tempfile::tempdir().unwrap();
        let dir = Arc::new(DataDir::open(parent.path().join("data")).unwrap());
        let network = network(schedule, address);
        Self {
            shelf,
            network,
            schedule,
            clock,
            dir,
            _parent: parent,
        }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.shelf
            .lock()
            .unwrap()
            .insert(path.into(), bytes.to_vec());
    }

    fn follow(
        &self,
    ) -> (
        mpsc::Receiver<DirectoryDocument>,
        tokio::task::JoinHandle<()>,
    ) {
        let (sender, receiver) = mpsc::channel(4);
        let (network, dir) = (self.network.clone(), self.dir.clone());
        let rng = TrafficRng::from_seed([1; 32]);
        let follower = Follower::new(network, dir, self.clock, rng, sender);
        (receiver, tokio::spawn(follower.run()))
    }
}

#[tokio::test]
async fn this_epoch_and_the_next_come_in_order_and_survive_a_restart() {
    // Past the middle, so that the next one is wanted too.
    let fixture = Fixture::new(Duration::from_secs(3000)).await;
    let (fifth, bytes) = document(fixture.schedule, Epoch(5), None, 0);
    let (_, next) = document(fixture.schedule, Epoch(6), Some(&fifth), 0);
    fixture.put("/v1/directory/5", &bytes);
    fixture.put("/v1/directory", &bytes);
    let (mut documents, task) = fixture.follow();
    let first = documents.recv().await.unwrap();
    assert_eq!(
        (first.directory.epoch, &first.bytes[..]),
        (Epoch(5), &bytes[..])
    );
    task.abort();

    // The authority is forgotten, the document is not.
    fixture.shelf.lock().unwrap().clear();
    fixture.put("/v1/directory/6", &next);
    let (mut documents, task) = fixture.follow();
    assert_eq!(documents.recv().await.unwrap().directory.epoch, Epoch(5));
    assert_eq!(documents.recv().await.unwrap().directory.epoch, Epoch(6));
    task.abort();
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_asked_for_again() {
    let fixture = Fixture::new(Duration::from_secs(60)).await;
    let (_, forged) = document(fixture.schedule, Epoch(5), None, 1);
    let (_, old) = document(fixture.schedule, Epoch(1), None, 0);
    let (_, far) = document(fixture.schedule, Epoch(9), None, 0);
    let (_, good) = document(fixture.schedule, Epoch(5), None, 0);
    let (mut documents, task) = fixture.follow();
    for bytes in [&b"noise"[..], &forged, &old, &far] {
        fixture.put("/v1/directory/5", bytes);
        let nothing = tokio::time::timeout(FIRST_POLL * 2, documents.recv()).await;
        assert!(nothing.is_err(), "took a wrong directory");
    }
    fixture.put("/v1/directory/5", &good);
    assert_eq!(documents.recv().await.unwrap().directory.epoch, Epoch(5));
    task.abort();
}

#[tokio::test]
async fn another_line_of_directories_is_refused() {
    let fixture = Fixture::new(Duration::from_secs(3000)).await;
    let (_, fifth) = document(fixture.schedule, Epoch(5), None, 0);
    // Names no predecessor: not a child of the one that is held.
    let (_, stranger) = document(fixture.schedule, Epoch(6), None, 0);
    fixture.put("/v1/directory/5", &fifth);
    fixture.put("/v1/directory/6", &stranger);
    let (sender, mut documents) = mpsc::channel(4);
    let rng = TrafficRng::from_seed([1; 32]);
    let (network, dir) = (fixture.network.clone(), fixture.dir.clone());
    let mut follower = Follower::new(network, dir, fixture.clock, rng, sender);
    follower.ask(Epoch(5)).await;
    assert_eq!(documents.recv().await.unwrap().directory.epoch, Epoch(5));
    follower.ask(Epoch(6)).await;
    assert!(documents.try_recv().is_err());
    assert!(
        follower.complaint.contains("contradict"),
        "{}",
        follower.complaint
    );
}

/// Each is told by its name, once, and costs no more memory than a document may take.
#[tokio::test]
async fn a_directory_of_the_wrong_size_or_a_bomb_is_named_and_the_good_one_taken_after_it() {
    let fixture = Fixture::new(Duration::from_secs(60)).await;
    let (_, good) = document(fixture.schedule, Epoch(5), None, 0);
    let (sender, mut documents) = mpsc::channel(4);
    let rng = TrafficRng::from_seed([1; 32]);
    let (network, dir) = (fixture.network.clone(), fixture.dir.clone());
    let mut follower = Follower::new(network, dir, fixture.clock, rng, sender);
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    // What gzip makes of zeros, not said to be that.
    let bomb = [&[0x1f, 0x8b, 8, 0][..], &[0; 200]].concat();
    for (bytes, words) in [
        (good[..good.len() - 1].to_vec(), "this is no directory"),
        ([&good[..], &[0]].concat(), "this is no directory"),
        (Vec::new(), "this is no directory"),
        (vec![0; DOCUMENT_MAX + 1], "this is no directory"),
        (bomb, "this is no directory"),
        (changed, "signature"),
    ] {
        fixture.put("/v1/directory/5", &bytes);
        follower.complaint.clear();
        follower.ask(Epoch(5)).await;
        let complaint = &follower.complaint;
        assert!(complaint.contains(words), "{}: {complaint}", bytes.len());
        assert!(documents.try_recv().is_err());
    }
    // Longer than anything that is read at all: as if the authority had not answered.
    fixture.put("/v1/directory/5", &vec![0; 9 << 20]);
    follower.ask(Epoch(5)).await;
    assert!(documents.try_recv().is_err());
    fixture.put("/v1/directory/5", &good);
    follower.ask(Epoch(5)).await;
    assert_eq!(documents.recv().await.unwrap().directory.epoch, Epoch(5));
}
