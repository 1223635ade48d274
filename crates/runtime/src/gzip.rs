//! gzip (RFC 1952) of documents that go over HTTP, with a limit on what may come out.

use flate2::Compression;
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read as _, Write as _};

/// What goes out. Writing to memory does not fail; were it to, `None`.
pub fn pack(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// What was packed, if that is at most `most` bytes and nothing follows it. No more than that is ever unpacked.
pub fn unpack(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut decoder = GzDecoder::new(packed);
    let mut bytes = Vec::new();
    let limit = (most as u64).saturating_add(1);
    decoder.by_ref().take(limit).read_to_end(&mut bytes).ok()?;
    // Past the limit it was not read to its end.
    (bytes.len() <= most && decoder.into_inner().is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_back_and_nothing_else_does() {
        let text: Vec<u8> = (0..10_000u32)
            .flat_map(|n| (n % 97).to_be_bytes())
            .collect();
        let packed = pack(&text).unwrap();
        assert!(packed.len() < text.len() / 10);
        assert_eq!(unpack(&packed, text.len()), Some(text.clone()));
        assert_eq!(unpack(&packed, text.len() - 1), None, "one byte too many");
        assert_eq!(unpack(&pack(&[]).unwrap(), 0), Some(Vec::new()));
        for cut in 0..packed.len() {
            assert_eq!(unpack(&packed[..cut], text.len()), None, "{cut}");
        }
        assert_eq!(unpack(&text, text.len()), None);
        let mut more = packed.clone();
        more.push(0);
        assert_eq!(unpack(&more, text.len()), None, "something follows");
        // Its check value, the last bytes but four.
        let mut changed = packed;
        let at = changed.len() - 8;
        changed[at] ^= 1;
        assert_eq!(unpack(&changed, text.len()), None);
    }

    #[test]
    fn a_bomb_is_cut_off() {
        let bomb = pack(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 100_000);
        assert_eq!(unpack(&bomb, 1 << 20), None);
    }
}
