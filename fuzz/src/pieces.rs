//! Pieces of long messages: what a stranger, a contact and a hostile contact may put into an inbox.

use crate::padded;
use messaging::MessageId;
use messaging::fragment::{self, Added, Cut, Fragment, FragmentKey, PAYLOAD_LEN, Partial, Pieces};
use messaging::pair::PairSecret;
use messaging::suite1::SEALED_LONG_MAX;
use std::collections::BTreeSet;
use std::sync::LazyLock;
use wire::geometry::CELL_LEN;
use wire::ids::InboxId;
use wire::keys::IdentitySecret;

const INBOX: InboxId = InboxId([6; 32]);
const ID: MessageId = MessageId([5; 16]);
/// Longer messages only cost time.
const HONEST_MAX: usize = 60_000;

static KEY: LazyLock<FragmentKey> = LazyLock::new(|| {
    let reader = IdentitySecret::from_seed(&[4; 32]).public();
    PairSecret::from_bytes([3; 32]).fragment_key(&reader)
});

/// The first byte chooses:
/// 0: the input is a cell, which is no piece. 1: two bytes say how long a message is, and each of the
/// others which of its pieces comes next: any that are enough give it back. 2: the same with pieces
/// that a contact made up, of four bytes each.
pub fn pieces(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 3 {
        0 => assert!(fragment::open(&KEY, &padded::<CELL_LEN>(data)).is_none()),
        1 => honest(data),
        _ => hostile(data),
    }
}

fn honest(data: &[u8]) {
    let Some((len, order)) = data.split_first_chunk::<2>() else {
        return;
    };
    let len = 1 + usize::from(u16::from_be_bytes(*len)) % HONEST_MAX;
    let message: Vec<u8> = (0..len).map(|i| (i / 7) as u8).collect();
    let pieces = Pieces::cut(&message);
    let cut = pieces.shape();
    assert!(cut.length() == len && cut.data() <= cut.total());
    let (mut partial, mut here) = (Partial::new(cut), BTreeSet::new());
    for (n, choice) in order.iter().enumerate() {
        let index = u16::from(*choice) % cut.total() as u16;
        let cell = pieces.cell(&KEY, &INBOX, &ID, n as u16, index);
        let (_, mut cell) = cell.expect("there is such a piece");
        let piece = fragment::open(&KEY, &cell).and_then(Result::ok);
        let piece = piece.expect("a piece that was sealed opens");
        assert!(piece.id == ID && piece.cut == cut && piece.index == index);
        cell[n % CELL_LEN] ^= 1;
        assert!(fragment::open(&KEY, &cell).is_none());
        let added = partial.add(piece);
        let expected = match (here.insert(index), here.len() >= cut.data()) {
            (false, _) => Added::Double,
            (true, false) => Added::More,
            (true, true) => Added::Enough,
        };
        assert_eq!(added, expected);
        assert_eq!(partial.count(), here.len());
        if added == Added::Enough {
            assert!(partial.join().is_some_and(|joined| joined == message));
            return;
        }
    }
}

fn hostile(data: &[u8]) {
    let mut partial: Option<Partial> = None;
    for bytes in data.chunks_exact(4) {
        // Lengths that `open` lets through, and not longer than a fuzzer can wait for.
        let length = 1 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) * 4;
        let cut = Cut::new(length.min(SEALED_LONG_MAX) as u32);
        let here = partial.get_or_insert_with(|| Partial::new(cut));
        let piece = Fragment {
            id: ID,
            attempt: u16::from(bytes[3]),
            cut,
            index: u16::from(bytes[2]) % cut.total() as u16,
            payload: vec![bytes[3]; PAYLOAD_LEN],
        };
        let (same, before) = (piece.cut == here.shape(), here.count());
        match here.add(piece) {
            Added::Disagrees | Added::Double => assert_eq!(here.count(), before),
            Added::More => assert!(same && here.count() < here.shape().data()),
            Added::Enough => {
                let length = here.shape().length();
                let joined = partial.take().and_then(Partial::join);
                assert!(joined.is_none_or(|joined| joined.len() == length));
            }
        }
    }
}
