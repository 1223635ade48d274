//! A store's key under a passphrase: wrapped by a key that Argon2id (RFC 9106) makes of it; the only file that
//! imports `argon2`. `docs/spec/store.md` §7.
//!
//! The store's key itself is random and never changes, so that another passphrase costs one small file and
//! a wrong one touches nothing. What stands in that file is bytes to a program that reads them: costs
//! are bounded before any memory is taken.
//!
//! Not here: where the file lies, and where a passphrase comes from (`clientd::vault`).

use crate::error::StoreError;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use wire::aead::{SEAL_OVERHEAD, SealKey};
use wire::codec::{DecodeError, Reader, Writer};
use wire::rng::KeyRng;
use zeroize::{Zeroize, Zeroizing};

/// Longest passphrase in bytes.
pub const PASSPHRASE_MAX: usize = 1024;
/// Length of a wrapped key.
pub const WRAPPED_LEN: usize = HEAD_LEN + 32 + SEAL_OVERHEAD;

const MAGIC: &[u8; 8] = b"MZLOCKED";
const VERSION: u16 = 1;
const SALT_LEN: usize = 16;
const HEAD_LEN: usize = 8 + 2 + 4 + 4 + 4 + SALT_LEN;

/// A person's passphrase. Wiped on drop; no `Debug`.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// 1 to [`PASSPHRASE_MAX`] bytes; `None` otherwise. Nothing is stripped or normalised.
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (1..=PASSPHRASE_MAX)
            .contains(&bytes.len())
            .then_some(Self(bytes))
    }
}

/// What Argon2id costs: whoever guesses pays it for every guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Cost {
    /// The second option that RFC 9106 §4 recommends: 64 MiB, three passes, four lanes.
    pub const RECOMMENDED: Self = Self {
        memory_kib: 64 << 10,
        passes: 3,
        lanes: 4,
    };
    /// More than this in a file is refused, unread: it would only keep the program busy.
    pub const MOST: Self = Self {
        memory_kib: 1 << 20,
        passes: 64,
        lanes: 64,
    };

    /// Within [`Cost::MOST`], and possible at all (RFC 9106 §3.1).
    fn params(self) -> Option<Params> {
        let most = Self::MOST;
        let fits = self.memory_kib <= most.memory_kib
            && self.passes <= most.passes
            && self.lanes <= most.lanes;
        let params = || Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok();
        fits.then(params).flatten()
    }
}

/// Whether these bytes are a wrapped key, or want to be: a key of 32 bytes is none.
pub fn is_wrapped(bytes: &[u8]) -> bool {
    bytes.len() != 32 && bytes.starts_with(MAGIC)
}

/// Wraps a store's key; the salt is new each time. [`StoreError::Cost`]: not with these costs.
pub fn wrap(
    key: &SealKey,
    passphrase: &Passphrase,
    cost: Cost,
    rng: &mut KeyRng,
) -> Result<[u8; WRAPPED_LEN], StoreError> {
    let salt: [u8; SALT_LEN] = rng.bytes();
    let mut w = Writer::with_capacity(WRAPPED_LEN);
    w.put(MAGIC).u16(VERSION);
    w.u32(cost.memory_kib).u32(cost.passes).u32(cost.lanes);
    w.put(&salt);
    let head = w.into_vec();
    let sealed = stretch(passphrase, &salt, cost)?.seal(&head, key.expose(), rng);
    let mut wrapped = [0; WRAPPED_LEN];
    wrapped[..HEAD_LEN].copy_from_slice(&head);
    wrapped[HEAD_LEN..].copy_from_slice(&sealed);
    Ok(wrapped)
}

/// The key that [`wrap`] wrapped. [`StoreError::WrongPassphrase`] with another passphrase, and when a bit
/// of the file was changed: nobody can tell these apart. Takes as long as the file's costs say.
pub fn unwrap(wrapped: &[u8], passphrase: &Passphrase) -> Result<SealKey, StoreError> {
    let unreadable = |_| StoreError::damaged("the file of its key is no wrapped key");
    let head = Head::decode(wrapped).map_err(unreadable)?;
    if head.version != VERSION {
        return Err(StoreError::Version {
            found: head.version,
            known: VERSION,
        });
    }
    let (place, sealed) = wrapped.split_at(HEAD_LEN);
    let opened = stretch(passphrase, &head.salt, head.cost)?.open(place, sealed);
    let plain = opened.map_err(|_| StoreError::WrongPassphrase)?;
    let key = plain.first_chunk().copied().map(Zeroizing::new);
    let key = key.ok_or(StoreError::WrongPassphrase)?;
    Ok(SealKey::from_bytes(*key))
}

struct Head {
    version: u16,
    cost: Cost,
    salt: [u8; SALT_LEN],
}

impl Head {
    fn decode(wrapped: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(wrapped);
        if r.array()? != *MAGIC {
            return Err(DecodeError::Invalid("magic"));
        }
        let version = r.u16()?;
        let cost = Cost {
            memory_kib: r.u32()?,
            passes: r.u32()?,
            lanes: r.u32()?,
        };
        let salt = r.array()?;
        r.slice(WRAPPED_LEN - HEAD_LEN)?;
        r.finish()?;
        Ok(Self {
            version,
            cost,
            salt,
        })
    }
}

fn stretch(
    passphrase: &Passphrase,
    salt: &[u8; SALT_LEN],
    cost: Cost,
) -> Result<SealKey, StoreError> {
    let params = cost.params().ok_or(StoreError::Cost)?;
    let mut memory = Vec::new();
    let wanted = params.block_count();
    memory
        .try_reserve_exact(wanted)
        .map_err(|_| StoreError::Cost)?;
    memory.resize(wanted, Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = Zeroizing::new([0; 32]);
    let done =
        argon2.hash_password_into_with_memory(&passphrase.0, salt, &mut out[..], &mut memory);
    // It follows from the passphrase.
    memory.iter_mut().for_each(Block::zeroize);
    done.map_err(|_| StoreError::Cost)?;
    Ok(SealKey::from_bytes(*out))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quick enough for a test; nobody is offered it.
    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        lanes: 2,
    };

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
    }

    fn wrapped(cost: Cost) -> [u8; WRAPPED_LEN] {
        let key = SealKey::from_bytes([0x11; 32]);
        let mut rng = KeyRng::from_seed([9; 32]);
        wrap(&key, &passphrase("correct horse"), cost, &mut rng).unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// RFC 9106 §5.3, to the byte.
    #[test]
    fn argon2id_is_the_one_of_the_rfc() {
        let params = argon2::ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(argon2::AssociatedData::new(&[4; 12]).unwrap())
            .output_len(32)
            .build()
            .unwrap();
        let mut memory = vec![Block::default(); params.block_count()];
        let (id, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon2 = Argon2::new_with_secret(&[3; 8], id, version, params).unwrap();
        let mut out = [0; 32];
        argon2
            .hash_password_into_with_memory(&[1; 32], &[2; 16], &mut out, &mut memory)
            .unwrap();
        let expected = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
        assert_eq!(hex(&out), expected);
    }

    /// The vector was written by `wrap` and then opened by other people's programs, which found the same key:
    /// argon2-cffi 25 (the reference implementation in C) with version 0x13, 64 MiB, 3 passes, 4 lanes and 32
    /// bytes over "correct horse" and the salt at 22..38; AES-256-GCM of Python's cryptography 50 with the
    /// nonce at 38..50 over the rest, bytes 0..38 as associated data.
    #[test]
    fn the_format_is_frozen() {
        let wrapped = wrapped(Cost::RECOMMENDED);
        assert_eq!(hex(&wrapped), include_str!("passphrase/wrapped.hex").trim());
        let key = unwrap(&wrapped, &passphrase("correct horse")).unwrap();
        assert_eq!(key.expose(), &[0x11; 32]);
    }

    #[test]
    fn another_passphrase_and_a_changed_bit_are_wrong() {
        let wrapped = wrapped(CHEAP);
        let wrong = unwrap(&wrapped, &passphrase("correct horse ")).err();
        assert!(matches!(wrong, Some(StoreError::WrongPassphrase)));
        let mut outcomes = [0; 4];
        for bit in 0..WRAPPED_LEN * 8 {
            let mut changed = wrapped;
            changed[bit / 8] ^= 1 << (bit % 8);
            let error = unwrap(&changed, &passphrase("correct horse")).err();
            let kinds = [
                matches!(error, Some(StoreError::WrongPassphrase)),
                matches!(error, Some(StoreError::Damaged { .. })),
                matches!(error, Some(StoreError::Version { .. })),
                matches!(error, Some(StoreError::Cost)),
            ];
            let kind = kinds.iter().position(|is| *is);
            outcomes[kind.expect("a changed bit went unnoticed")] += 1;
        }
        assert_eq!((outcomes[1], outcomes[2]), (64, 16), "magic and version");
        // The high bits of three costs.
        assert!((24..80).contains(&outcomes[3]), "{outcomes:?}");
    }

    #[test]
    fn costs_are_bounded_before_memory_is_taken() {
        let mut file = wrapped(CHEAP);
        let most = Cost::MOST;
        for (at, value) in [
            (10, most.memory_kib + 1),
            (10, u32::MAX),
            (10, 0),
            (14, most.passes + 1),
            (14, 0),
            (18, most.lanes + 1),
            (18, 0),
        ] {
            let kept = file;
            file[at..at + 4].copy_from_slice(&value.to_be_bytes());
            let began = std::time::Instant::now();
            let error = unwrap(&file, &passphrase("correct horse")).err();
            assert!(matches!(error, Some(StoreError::Cost)), "{at}: {value}");
            assert!(began.elapsed().as_millis() < 200);
            file = kept;
        }
        let huge = Cost {
            memory_kib: u32::MAX,
            ..CHEAP
        };
        let mut rng = KeyRng::from_seed([9; 32]);
        let key = SealKey::from_bytes([1; 32]);
        let made = wrap(&key, &passphrase("p"), huge, &mut rng);
        assert!(matches!(made, Err(StoreError::Cost)));
    }

    #[test]
    fn other_lengths_are_no_wrapped_key() {
        let file = wrapped(CHEAP);
        for len in (0..WRAPPED_LEN).chain([WRAPPED_LEN + 1]) {
            let mut bytes = file.to_vec();
            bytes.resize(len, 0);
            let error = unwrap(&bytes, &passphrase("correct horse")).err();
            assert!(matches!(error, Some(StoreError::Damaged { .. })), "{len}");
        }
        assert!(is_wrapped(&file) && !is_wrapped(&[7; 32]));
        let text = |len: usize| Passphrase::new(Zeroizing::new(vec![b'a'; len])).is_some();
        assert_eq!(
            [0, 1, PASSPHRASE_MAX, PASSPHRASE_MAX + 1].map(text),
            [false, true, true, false]
        );
    }

    #[test]
    fn a_new_passphrase_wraps_the_same_key_and_the_old_one_opens_nothing() {
        let key = unwrap(&wrapped(CHEAP), &passphrase("correct horse")).unwrap();
        let mut rng = KeyRng::from_seed([8; 32]);
        let again = wrap(&key, &passphrase("battery staple"), CHEAP, &mut rng).unwrap();
        let opened = unwrap(&again, &passphrase("battery staple")).unwrap();
        assert_eq!(opened.expose(), &[0x11; 32]);
        assert!(unwrap(&again, &passphrase("correct horse")).is_err());
    }
}
