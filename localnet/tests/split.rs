//! All authorities cheat: two gateways get different directories of one epoch, both signed by everybody.
//! Clients of both see it, and each has the proof on its disk. Real processes; real time: `.ci/slow` runs it.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test's helper fails like the test, and says what it saw"
)]

use clap::Parser;
use directory::{
    Directory, Family, LAYERS, Network as Known, NetworkAuthority, NodeDescriptor, Parameters,
    Preamble, SignedDescriptor, SignedDirectory,
};
use localnet::args::Args;
use localnet::live::Network;
use localnet::plan::{Plan, Planned, Role};
use runtime::http::{self, HttpLimits, Request, Response, StatusCode};
use runtime::shutdown::Shutdown;
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use wire::geometry::GeometryHash;
use wire::ids::{DirectoryHash, Epoch, NodeId};
use wire::keys::IdentitySecret;

/// What the issue asks for.
const LIMIT: Duration = Duration::from_secs(120);

/// What nodes said of themselves, and what they are told.
#[derive(Default)]
struct Board {
    descriptors: BTreeMap<NodeId, NodeDescriptor>,
    /// By the side that asks.
    documents: Option<[Vec<u8>; 2]>,
}

type Shared = Arc<Mutex<Board>>;

/// All four authorities, as one side of the network is shown them.
async fn play(side: usize, listener: TcpListener, board: Shared) {
    let handler = move |request: Request| answer(side, request, board.clone());
    http::serve(listener, HttpLimits::default(), Shutdown::manual(), handler).await;
}

async fn answer(side: usize, request: Request, board: Shared) -> Response {
    let path = request.uri().path().to_owned();
    if path == "/v1/descriptor" {
        let body = http::read_body(request.into_body(), Duration::from_secs(5)).await;
        let signed = SignedDescriptor::decode(&body.unwrap()).unwrap();
        let node = signed.descriptor;
        board.lock().unwrap().descriptors.insert(node.id(), node);
        return http::text(StatusCode::OK, "stored\n");
    }
    let newest = path == "/v1/directory" || path == "/v1/directory/0";
    let board = board.lock().unwrap();
    match board.documents.as_ref().filter(|_| newest) {
        Some(documents) => http::respond(
            StatusCode::OK,
            "application/octet-stream",
            documents[side].clone(),
        ),
        None => http::text(StatusCode::NOT_FOUND, "none\n"),
    }
}

/// What everybody knows, with the players of one side as authorities.
async fn side(side: usize, known: &Known, board: &Shared) -> Known {
    let mut authorities = Vec::new();
    for authority in known.authorities() {
        let listener = http::bind_loopback(0).await.unwrap();
        authorities.push(NetworkAuthority {
            identity: authority.identity,
            address: listener.local_addr().unwrap(),
        });
        tokio::spawn(play(side, listener, board.clone()));
    }
    let bootstrap = known.bootstrap().to_vec();
    let (id, schedule, threshold) = (*known.id(), known.schedule(), known.threshold());
    Known::new(id, schedule, authorities, threshold, bootstrap).unwrap()
}

/// Epoch 0 with these mixes and all gateways, signed by everybody.
fn directory(
    plan: &Plan,
    board: &Board,
    keys: &[IdentitySecret],
    stands: impl Fn(&Planned) -> bool,
) -> SignedDirectory {
    let sorted = |nodes: Vec<&Planned>| {
        let said = |node: &Planned| NodeDescriptor {
            family: Family::of(&node.name),
            ..board.descriptors[&NodeId::of(&node.identity.unwrap())].clone()
        };
        let mut nodes: Vec<NodeDescriptor> = nodes.into_iter().map(said).collect();
        nodes.sort_by_key(NodeDescriptor::id);
        nodes
    };
    let all: Vec<&Planned> = plan.of(Role::Mix).collect();
    let layers = std::array::from_fn(|layer| {
        let here = all.iter().skip(layer).step_by(LAYERS).copied();
        sorted(here.filter(|node| stands(node)).collect())
    });
    let schedule = plan.network.schedule();
    let preamble = Preamble {
        network: *plan.network.id(),
        epoch: Epoch(0),
        schedule,
        valid_from: schedule.start(Epoch(0)),
        valid_until: schedule.start(Epoch(2)),
        previous: DirectoryHash([0; 32]),
        geometry: GeometryHash::current(),
        parameters: Parameters::localnet(),
        shared_random: [7; 32],
        withheld: 0,
    };
    let gateways = sorted(plan.of(Role::Gateway).collect());
    let made = Directory::new(preamble, layers, gateways).unwrap();
    let mut signed = SignedDirectory::sign(&made, 0, &keys[0]);
    for (index, key) in (0u8..).zip(keys).skip(1) {
        assert!(signed.merge(&SignedDirectory::sign(&made, index, key)));
    }
    signed
}

/// Shows the two directories once every node has said who it is; returns when that was.
async fn publish(plan: Plan, board: Shared, keys: Vec<IdentitySecret>) -> Instant {
    while board.lock().unwrap().descriptors.len() < plan.nodes.len() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut board = board.lock().unwrap();
    let all = directory(&plan, &board, &keys, |_| true);
    let fewer = directory(&plan, &board, &keys, |node| node.name != "mix1");
    board.documents = Some([all.encode(), fewer.encode()]);
    Instant::now()
}

fn load_keys(plan: &Plan) -> Vec<IdentitySecret> {
    let key = |node: &Planned| {
        let bytes = std::fs::read(node.data().join("identity.key")).unwrap();
        IdentitySecret::from_seed(&bytes.try_into().unwrap())
    };
    plan.of(Role::Authority).map(key).collect()
}

/// A verb of one of the programs.
fn program(words: &[&str], path: &Path) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_localnet"))
        .arg("role")
        .args(words)
        .arg(path)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(said).unwrap())
}

async fn proof_of(network: &Network, name: &str, since: Instant) -> (Value, Duration) {
    let api = network.api(name).unwrap();
    loop {
        if let Ok(status) = api.get("/v1/status").await {
            let found = status["split_view"]["proofs"].as_array().unwrap();
            if !found.is_empty() {
                return (status, since.elapsed());
            }
        }
        assert!(since.elapsed() < LIMIT, "{name} has no proof");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
#[ignore = "real time"]
fn a_split_view_is_seen_by_clients_of_both_sides_and_proven() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // alice enters through gateway1, bob through gateway2; what they write lies at gateway3.
        let folder = dir.path().join("net");
        let words = [
            "localnet",
            "--authorities",
            "4",
            "--dir",
            folder.to_str().unwrap(),
        ];
        let args = Args::parse_from(words).network;
        let mut plan = Plan::make(&args).unwrap();
        let (keys, board) = (load_keys(&plan), Shared::default());
        assert_eq!(keys.len(), 4);
        plan.nodes.retain(|n| n.role != Role::Authority);
        let honest = plan.network_file();
        let other = honest.with_file_name("network-other.toml");
        for (i, file) in [&honest, &other].into_iter().enumerate() {
            let shown = side(i, &plan.network, &board).await;
            std::fs::write(file, shown.to_toml()).unwrap();
        }
        let misled = plan.of(Role::Gateway).nth(1).unwrap().config_file();
        let text = std::fs::read_to_string(&misled).unwrap();
        let changed = text.replace(honest.to_str().unwrap(), other.to_str().unwrap());
        assert_ne!(changed, text);
        std::fs::write(&misled, changed).unwrap();
        let mut nodes = plan.clone();
        nodes.nodes.retain(|n| n.role != Role::Client);
        let published = tokio::spawn(publish(nodes, board, keys));
        let localnet = Path::new(env!("CARGO_BIN_EXE_localnet"));
        let network = Network::start_plan(plan, &args, localnet).await.unwrap();
        let since = published.await.unwrap();
        let ready = since.elapsed().as_secs_f64();
        println!("clients ready {ready:.1} s after the two directories were shown");
        for name in ["alice", "bob"] {
            let (status, after) = proof_of(&network, name, since).await;
            println!("{name} has the proof after {:.1} s", after.as_secs_f64());
            judge(&network, name, &status, &honest).await;
        }
        network.stop().unwrap();
    });
}

/// What a person sees of it, and what the file is worth.
async fn judge(network: &Network, name: &str, status: &Value, known: &Path) {
    let proof = &status["split_view"]["proofs"][0];
    assert_eq!(proof["signed_both"], 4);
    assert_eq!(proof["both_valid"], true);
    assert_eq!(status["split_view"]["seen_in_epoch"], 0);
    let alarms = status["alarms"].as_array().unwrap();
    let alarms: Vec<&str> = alarms.iter().map(|a| a.as_str().unwrap()).collect();
    let words = "4 authorities signed two directories of epoch 0";
    let said = alarms.iter().filter(|alarm| alarm.starts_with(words));
    assert_eq!(said.count(), 1, "{alarms:?}");
    let health = network.api(name).unwrap().get("/v1/health").await.unwrap();
    assert_eq!(health["split_view_proven"], true);
    let client = network.plan.nodes.iter().find(|n| n.name == name).unwrap();
    let (good, said) = program(&["clientd", "status", "--config"], &client.config_file());
    assert!(good && said.contains(&format!("ALARM: {words}")), "{said}");
    let log = std::fs::read_to_string(client.folder.join("log")).unwrap();
    assert!(
        log.contains("there are two directories of one epoch"),
        "{log}"
    );
    let file = PathBuf::from(proof["file"].as_str().unwrap());
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let verify = ["topology", "verify", "--network", known.to_str().unwrap()];
    let (good, said) = program(&verify, &file);
    println!("{said}");
    assert!(good);
    for words in ["authority 1 (", "authority 4 (", "both are valid"] {
        assert!(said.contains(words), "{words}");
    }
    // What was changed proves nothing.
    let mut bytes = std::fs::read(&file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let forged = client.folder.join("forged.proof");
    std::fs::write(&forged, bytes).unwrap();
    let (good, said) = program(&verify, &forged);
    assert!(!good && said.contains("proves nothing"), "{said}");
}
