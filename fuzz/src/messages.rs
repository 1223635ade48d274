//! What one person says to another: contact cards and sealed cells.

use crate::padded;
use messaging::inner::Inner;
use messaging::suite1::{self, Opening};
use messaging::{Card, Identity};
use std::sync::LazyLock;
use wire::geometry::CELL_LEN;
use wire::ids::NetworkId;
use wire::request::Cell;
use wire::rng::KeyRng;

const NETWORK: NetworkId = NetworkId([7; 32]);

static SENDER: LazyLock<Identity> = LazyLock::new(|| Identity::from_bytes(&[1; 64]));
static RECIPIENT: LazyLock<Identity> = LazyLock::new(|| Identity::from_bytes(&[2; 64]));
static SEALED: LazyLock<Vec<Cell>> = LazyLock::new(|| sealed(&[2; 1500]));

/// Cells from [`SENDER`] to [`RECIPIENT`], the same for the same `inner`.
pub fn sealed(inner: &[u8]) -> Vec<Cell> {
    let mut rng = KeyRng::from_seed([3; 32]);
    let (to, kem) = (RECIPIENT.public(), RECIPIENT.kem_public());
    let sealed = suite1::seal(&NETWORK, &SENDER, &to, kem, inner, &mut rng);
    sealed.map(|s| s.cells).unwrap_or_default()
}

/// A card that can be read is written the same. The first byte chooses: text, or the bytes in it.
pub fn contact_card(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    if choice & 1 == 0 {
        let Ok(text) = std::str::from_utf8(data) else {
            return;
        };
        if let Ok(card) = Card::from_text(text) {
            assert_eq!(card.to_text(), text.to_ascii_lowercase());
        }
    } else if let Ok(card) = Card::from_bytes(data) {
        assert!(card.to_bytes() == data);
        assert!(Card::from_text(&card.to_text()) == Ok(card));
    }
}

/// The first byte chooses:
/// 0: the input is a cell. 1: the input is sealed, and must come out again. 2: the input is XORed to
/// a sealed message, which then must not open unless nothing changed. 3: the input is what a message
/// says.
pub fn cell(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    match choice % 4 {
        0 => {
            let cell: Cell = padded::<CELL_LEN>(data);
            let _ = suite1::tag_of(&cell);
            assert!(open(&[cell]).is_none());
        }
        1 => {
            let cells = sealed(data);
            assert_eq!(cells.is_empty(), data.len() > suite1::INNER_MAX);
            if !cells.is_empty() {
                assert!(open(&cells).is_some_and(|inner| inner == data));
            }
        }
        2 => {
            let mut cells = SEALED.clone();
            let bytes = cells.iter_mut().flat_map(|c| c.iter_mut());
            bytes.zip(data).for_each(|(b, d)| *b ^= d);
            let len = data.len().min(cells.len() * CELL_LEN);
            let changed = data[..len].iter().any(|d| *d != 0);
            assert_eq!(open(&cells).is_none(), changed);
        }
        _ => {
            if let Ok(inner) = Inner::decode(data)
                && !matches!(inner, Inner::Unknown)
            {
                assert!(inner.encode()[..] == *data);
            }
        }
    }
}

fn open(cells: &[Cell]) -> Option<Vec<u8>> {
    let mut opening = Opening::first(&NETWORK, &RECIPIENT, &cells[0]).ok()?;
    for cell in &cells[1..] {
        opening.add(cell).ok()?;
    }
    let message = opening.finish().ok()?;
    assert!(message.sender == SENDER.public());
    Some(message.inner.to_vec())
}
