//! What a log gives back after every kind of accident. Random ones: `mixnode/tests/kill.rs`.

use super::*;
use mizzle_core::hop::KeySeed;
use std::os::unix::fs::PermissionsExt;
use wire::keys::SphinxPublic;

const NODE: NodeId = NodeId([7; 28]);
const EPOCH: Epoch = Epoch(41);

fn key(epoch: Epoch) -> NodeKey {
    NodeKey {
        epoch,
        seed: KeySeed([epoch.0 as u8; 32]),
        public: SphinxPublic([9; 32]),
    }
}

fn tags(numbers: std::ops::Range<u32>) -> Vec<ShortTag> {
    let tag = |n: u32| {
        let mut tag = ShortTag([0xa5; 16]);
        tag.0[..4].copy_from_slice(&n.to_be_bytes());
        tag
    };
    numbers.map(tag).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    /// With a log of three batches, of 3, 5 and 2 tags.
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let mut log = TagLog::create(folder.0.path(), &NODE, &key(EPOCH)).unwrap();
        for batch in [tags(0..3), tags(3..8), tags(8..10)] {
            log.append(&batch).unwrap();
        }
        folder
    }

    fn file(&self) -> PathBuf {
        path(self.0.path(), EPOCH)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.file()).unwrap()
    }

    fn with(&self, bytes: &[u8]) -> Result<(TagLog, KeptKey), Unusable> {
        std::fs::write(self.file(), bytes)?;
        self.open()
    }

    fn open(&self) -> Result<(TagLog, KeptKey), Unusable> {
        let opened = TagLog::open(self.0.path(), &NODE, EPOCH, 1000);
        opened.unwrap_or_else(|other| Err(Unusable::Io(io::Error::other(other))))
    }
}

fn read(opened: Result<(TagLog, KeptKey), Unusable>) -> Vec<ShortTag> {
    opened.map_err(|e| e.to_string()).unwrap().1.tags
}

#[test]
fn what_was_appended_is_read_and_appended_to() {
    let folder = Folder::new();
    let (mut log, kept) = folder.open().map_err(|e| e.to_string()).unwrap();
    assert_eq!(kept.tags, tags(0..10));
    assert!(kept.key.seed.0 == key(EPOCH).seed.0 && kept.key.public == key(EPOCH).public);
    // 160 of the header, 16 for each batch and each tag.
    assert_eq!(log.len(), 160 + 3 * 16 + 10 * 16);
    let many = 3 * BATCH_MAX as u32 + 10;
    log.append(&tags(10..many)).unwrap();
    drop(log);
    let reopened = TagLog::open(folder.0.path(), &NODE, EPOCH, 1 << 20).unwrap();
    assert_eq!(read(reopened), tags(0..many));
    // More than the set takes: as many as fill it.
    assert_eq!(read(folder.open()).len(), 1000);
    let mode = std::fs::metadata(folder.file()).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
}

#[test]
fn an_end_torn_anywhere_costs_the_last_batch_alone() {
    let folder = Folder::new();
    let whole = folder.bytes();
    let last = whole.len() - 48;
    for cut in last..whole.len() {
        let (mut log, kept) = folder.with(&whole[..cut]).map_err(|_| cut).unwrap();
        assert_eq!(kept.tags, tags(0..8), "cut at {cut}");
        // And the log goes on behind the last whole batch.
        log.append(&tags(20..21)).unwrap();
        drop(log);
        let expected: Vec<_> = tags(0..8).into_iter().chain(tags(20..21)).collect();
        assert_eq!(read(folder.open()), expected);
    }
    // A power cut may leave the length and not the content: zeros, or what stood there before.
    for byte in last..whole.len() {
        let mut torn = whole.clone();
        torn[byte..].fill(0);
        torn[byte] = !whole[byte];
        assert_eq!(read(folder.with(&torn)), tags(0..8), "from {byte}");
    }
    let mut long = whole.clone();
    long.resize(whole.len() + batch_bytes(BATCH_MAX), 0x5a);
    assert_eq!(read(folder.with(&long)), tags(0..10));
}

fn batch_bytes(tags: usize) -> usize {
    usize::try_from(format::batch_len(tags)).unwrap()
}

#[test]
fn damage_to_what_was_durable_costs_the_key() {
    let folder = Folder::new();
    let whole = folder.bytes();
    for byte in 0..whole.len() - 48 {
        for bit in [0, 7] {
            let mut damaged = whole.clone();
            damaged[byte] ^= 1 << bit;
            let refused = folder.with(&damaged).err();
            let expected = match byte {
                ..HEADER_LEN => matches!(refused, Some(Unusable::Header)),
                _ => matches!(refused, Some(Unusable::Tags)),
            };
            assert!(expected, "byte {byte}: {refused:?}");
        }
    }
    // So does an end that is too long to be one torn write.
    let mut long = whole.clone();
    long.resize(whole.len() + batch_bytes(BATCH_MAX) + 1, 0x5a);
    assert!(matches!(folder.with(&long), Err(Unusable::Tags)));
    assert!(matches!(folder.with(&whole[..100]), Err(Unusable::Header)));
    assert!(matches!(folder.with(b""), Err(Unusable::Header)));
}

#[test]
fn the_log_of_another_node_epoch_or_key_is_not_used() {
    let folder = Folder::new();
    let open = |node: u8, epoch: Epoch| {
        TagLog::open(folder.0.path(), &NodeId([node; 28]), epoch, 1000).unwrap()
    };
    assert!(matches!(open(8, EPOCH), Err(Unusable::Other)));
    std::fs::copy(folder.file(), path(folder.0.path(), EPOCH.next())).unwrap();
    assert!(matches!(open(7, EPOCH.next()), Err(Unusable::Other)));
    assert!(matches!(open(7, EPOCH.previous()), Err(Unusable::Io(_))));
    // The tags of one key behind the header of another.
    let mut log = TagLog::create(folder.0.path(), &NODE, &key(EPOCH.next())).unwrap();
    log.append(&tags(0..3)).unwrap();
    let other = std::fs::read(path(folder.0.path(), EPOCH.next())).unwrap();
    let mut mixed = folder.bytes()[..HEADER_LEN].to_vec();
    mixed.extend(&other[HEADER_LEN..]);
    mixed.extend(&folder.bytes()[HEADER_LEN + 64..]);
    assert!(matches!(folder.with(&mixed), Err(Unusable::Tags)));
}

#[test]
fn a_log_that_others_can_read_ends_the_start() {
    let folder = Folder::new();
    std::fs::set_permissions(folder.file(), PermissionsExt::from_mode(0o640)).unwrap();
    let error = TagLog::open(folder.0.path(), &NODE, EPOCH, 1000).err();
    assert!(error.unwrap().to_string().contains("chmod 600"));
}

#[test]
fn what_is_destroyed_is_gone_and_wiped() {
    let folder = Folder::new();
    // A second name shows what became of the bytes.
    let shadow = folder.0.path().join("shadow");
    std::fs::hard_link(folder.file(), &shadow).unwrap();
    destroy(folder.0.path(), EPOCH).unwrap();
    destroy(folder.0.path(), EPOCH).unwrap();
    assert!(!folder.file().exists());
    let left = std::fs::read(shadow).unwrap();
    assert!(left[..HEADER_LEN].iter().all(|b| *b == 0));
}

#[test]
fn names_and_epochs() {
    assert_eq!(epoch_of("epoch-41.tags"), Some(EPOCH));
    for name in ["epoch-41.tags.new", "epoch-.tags", "epoch--1.tags", "lock"] {
        assert_eq!(epoch_of(name), None);
    }
}
