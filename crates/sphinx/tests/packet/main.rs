//! Tests of the Sphinx format through its public face, in one binary.
//!
//! `reference` reads packets by the text of `docs/spec/packet.md` and by other primitives than
//! `src/`, and `making` builds them so; `vectors` holds both to the same frozen bytes. `oracle` holds us
//! to `sphinx-packet`.

// Helpers of tests may unwrap and print like tests.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::print_stdout)]
// Vectors are files.
#![allow(clippy::disallowed_methods)]

mod alpha;
mod backends;
mod forged;
mod hostile;
mod making;
mod oracle;
mod reference;
mod round_trip;
mod support;
mod vectors;
