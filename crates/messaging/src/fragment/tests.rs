//! What comes back from which pieces, and what hostile pieces do.

use super::*;
use proptest::prelude::*;

fn key(n: u8) -> FragmentKey {
    FragmentKey(Zeroizing::new([n; 32]))
}

const INBOX: InboxId = InboxId([6; 32]);
const ID: MessageId = MessageId([7; 16]);

fn sealed(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 / 7) as u8).collect()
}

fn cells(len: usize) -> Vec<Cell> {
    let pieces = Pieces::cut(&sealed(len));
    let total = pieces.shape().total() as u16;
    let cell = |i| pieces.cell(&key(1), &INBOX, &ID, 0, i).unwrap().1;
    (0..total).map(cell).collect()
}

fn piece(cell: &Cell) -> Fragment {
    open(&key(1), cell).unwrap().unwrap()
}

#[test]
fn shapes() {
    let shape = |len: usize| {
        let cut = Cut::new(len as u32);
        (cut.data(), cut.parity())
    };
    assert_eq!(shape(1), (1, 0));
    assert_eq!(shape(PAYLOAD_LEN * 3), (3, 0));
    assert_eq!(shape(PAYLOAD_LEN * 3 + 1), (4, 1));
    assert_eq!(shape(PAYLOAD_LEN * 9), (9, 2));
    assert_eq!(shape(SEALED_LONG_MAX), (137, 18));
    assert_eq!(TOTAL_MAX, 155);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any `data` pieces, in any order, from any attempts, give the message back.
    #[test]
    fn enough_pieces_are_the_message(
        len in 1usize..40_000,
        order in prop::collection::vec(any::<u16>(), 200),
    ) {
        let pieces = Pieces::cut(&sealed(len));
        let cut = pieces.shape();
        let mut indices: Vec<u16> = (0..cut.total() as u16).collect();
        indices.sort_by_key(|i| order[usize::from(*i)]);
        let mut partial = Partial::new(cut);
        for (n, index) in indices.into_iter().enumerate() {
            let attempt = order[n] % 3;
            let (_, cell) = pieces.cell(&key(1), &INBOX, &ID, attempt, index).unwrap();
            let fragment = piece(&cell);
            prop_assert_eq!((fragment.index, fragment.attempt), (index, attempt));
            let added = partial.add(fragment.clone());
            prop_assert_eq!(added == Added::Enough, n + 1 >= cut.data());
            prop_assert_eq!(partial.add(fragment), Added::Double);
            if added == Added::Enough {
                break;
            }
        }
        let bits = bitmap(partial.indices());
        let marked = (0..cut.total() as u16).filter(|i| has(&bits, *i)).count();
        prop_assert_eq!(marked, partial.count());
        prop_assert!(partial.join() == Some(sealed(len)));
    }

    /// Whatever a contact seals: a value or an error.
    #[test]
    fn any_text_is_a_piece_or_malformed(head in prop::collection::vec(any::<u8>(), HEAD_LEN)) {
        let mut text = [0; TEXT_LEN];
        text[..HEAD_LEN].copy_from_slice(&head);
        for kind in [KIND, head[0]] {
            text[0] = kind;
            let cell = keyed::seal(&key(1).0, LABEL, &[9; TAG_LEN], &text);
            if let Ok(fragment) = open(&key(1), &cell).unwrap() {
                prop_assert!(usize::from(fragment.index) < TOTAL_MAX);
                prop_assert!(fragment.cut.length() <= SEALED_LONG_MAX);
            }
        }
    }
}

#[test]
fn every_other_key_inbox_and_change_is_a_stranger() {
    let cell = &cells(10_000)[2];
    assert!(open(&key(2), cell).is_none());
    for at in [0, 1, 20, 1000, 1979] {
        let mut bad = cell.clone();
        bad[at] ^= 1;
        assert!(open(&key(1), &bad).is_none(), "{at}");
    }
}

#[test]
fn attempts_and_inboxes_share_nothing() {
    let pieces = Pieces::cut(&sealed(3_000));
    let cell = |inbox: u8, attempt| {
        let inbox = InboxId([inbox; 32]);
        pieces.cell(&key(1), &inbox, &ID, attempt, 1).unwrap()
    };
    assert!(cell(1, 0) == cell(1, 0), "sent again, it is the same");
    for other in [cell(2, 0), cell(1, 1)] {
        assert!(cell(1, 0).0 != other.0);
        let pairs = cell(1, 0).1;
        let same = pairs.iter().zip(other.1.iter()).filter(|(a, b)| a == b);
        assert!(same.count() < 40);
    }
    assert!(pieces.cell(&key(1), &INBOX, &ID, 0, 2).is_none());
}

#[test]
fn pieces_that_disagree_change_nothing() {
    let cells = cells(10_000);
    let first = piece(&cells[0]);
    let mut partial = Partial::new(first.cut);
    assert_eq!(partial.add(first.clone()), Added::More);
    let longer = Fragment {
        cut: Cut::new(10_001),
        index: 1,
        ..first.clone()
    };
    assert_eq!(partial.add(longer), Added::Disagrees);
    let mut changed = first;
    changed.payload[3] ^= 1;
    assert_eq!(partial.add(changed), Added::Disagrees);
    for cell in &cells[1..] {
        if partial.add(piece(cell)) == Added::Enough {
            break;
        }
    }
    assert!(partial.join() == Some(sealed(10_000)));
}

#[test]
fn false_parity_is_noticed_by_its_padding_or_by_the_seal() {
    let cells = cells(10_000);
    let cut = piece(&cells[0]).cut;
    assert_eq!((cut.data(), cut.parity()), (6, 1));
    let mut partial = Partial::new(cut);
    // The last piece, which has padding, is missing; parity is of another message.
    for cell in &cells[..5] {
        partial.add(piece(cell));
    }
    let mut parity = piece(&cells[6]);
    parity.payload.iter_mut().for_each(|b| *b ^= 0x5a);
    assert_eq!(partial.add(parity), Added::Enough);
    assert!(partial.join().is_none());
}
