//! A node's request to be admitted, signed by it. `docs/spec/directory.md` §11.
//!
//! It says who the node is, what it wants to do, and by which name its operator goes; a person sends it to the
//! operators of the authorities, who decide (`topology admit`). The signature proves that it comes from whoever
//! has the node's key, and that nobody changed the name on the way.

use crate::document::{Family, Role};
use crate::hex;
use std::fmt;
use wire::codec::{DecodeError, Reader, Writer};
use wire::ids::{NetworkId, NodeId};
use wire::keys::{IdentityPublic, IdentitySecret, SIGNATURE_LEN};
use wire::time::UnixTime;

/// Most bytes of an operator's name.
pub const OPERATOR_MAX: usize = 256;
/// Most characters of a request as text that are read, white space among them.
pub const JOIN_TEXT_MAX: usize = 4096;

const PREFIX: &str = "mizzle-join:";
const MAGIC: [u8; 4] = *b"MZJR";
const VERSION: u8 = 1;
const CONTEXT: &str = "mizzle-join-v1";

/// What a node asks for. Holding one says nothing yet: see [`JoinRequest::verify`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRequest {
    /// Which node.
    pub identity: IdentityPublic,
    /// As what.
    pub role: Role,
    /// When the request was made.
    pub made: UnixTime,
    /// Who runs it: 1 to [`OPERATOR_MAX`] bytes without control characters. [`Family::of`] it is the family.
    pub operator: String,
    signature: [u8; SIGNATURE_LEN],
}

/// Why a text is no request of a node of this network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinRefused {
    /// It does not look like one.
    NotARequest,
    /// It looks like one and cannot be read.
    Malformed(DecodeError),
    /// Not signed by this node, or for another network.
    BadSignature,
}

impl fmt::Display for JoinRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotARequest => write!(
                f,
                "this is no join request: it is the text beginning with `{PREFIX}` that `mixnode join` or \
                 `gateway join` prints"
            ),
            Self::Malformed(why) => write!(
                f,
                "the join request cannot be read ({why}): it was cut off or changed on its way; ask for it again"
            ),
            Self::BadSignature => write!(
                f,
                "the signature does not hold: the request is of another network, or was changed on its way"
            ),
        }
    }
}

impl std::error::Error for JoinRefused {}

impl JoinRequest {
    /// Signs a request for one network. Refuses a name that [`JoinRequest::from_text`] would refuse.
    pub fn sign(
        role: Role,
        operator: &str,
        made: UnixTime,
        secret: &IdentitySecret,
        network: &NetworkId,
    ) -> Result<Self, DecodeError> {
        check_operator(operator)?;
        let mut request = Self {
            identity: secret.public(),
            role,
            made,
            operator: operator.to_owned(),
            signature: [0; SIGNATURE_LEN],
        };
        request.signature = secret.sign(CONTEXT, &request.message(network));
        Ok(request)
    }

    /// Whether the node itself asks, for this network.
    pub fn verify(&self, network: &NetworkId) -> Result<(), JoinRefused> {
        let message = self.message(network);
        let verified = self.identity.verify(CONTEXT, &message, &self.signature);
        verified.map_err(|_| JoinRefused::BadSignature)
    }

    /// The node's id.
    pub fn id(&self) -> NodeId {
        NodeId::of(&self.identity)
    }

    /// Whose it is.
    pub fn family(&self) -> Family {
        Family::of(&self.operator)
    }

    /// One line to send.
    pub fn to_text(&self) -> String {
        let mut bytes = self.text();
        bytes.extend_from_slice(&self.signature);
        format!("{PREFIX}{}", hex::encode(&bytes))
    }

    /// Reads what [`JoinRequest::to_text`] wrote, with white space anywhere, as mail leaves it; does not verify.
    pub fn from_text(text: &str) -> Result<Self, JoinRefused> {
        if text.len() > JOIN_TEXT_MAX {
            return Err(JoinRefused::NotARequest);
        }
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let digits = text.strip_prefix(PREFIX).ok_or(JoinRefused::NotARequest)?;
        let bytes = hex::decode_all(digits);
        let bytes = bytes.ok_or(JoinRefused::Malformed(DecodeError::Invalid("hex digits")))?;
        Self::decode(&bytes).map_err(JoinRefused::Malformed)
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        if r.array()? != MAGIC || r.u8()? != VERSION {
            return Err(DecodeError::Invalid("magic or version"));
        }
        let identity = IdentityPublic::from_bytes(&r.array()?);
        let identity = identity.map_err(|_| DecodeError::Invalid("identity"))?;
        let role = match r.u8()? {
            0 => Role::Mix,
            1 => Role::Gateway,
            _ => return Err(DecodeError::Invalid("role")),
        };
        let made = UnixTime(r.u64()?);
        let len = usize::from(r.u16()?);
        if len > OPERATOR_MAX {
            return Err(DecodeError::TooLong("operator"));
        }
        let operator = std::str::from_utf8(r.slice(len)?);
        let operator = operator.map_err(|_| DecodeError::Invalid("operator"))?;
        check_operator(operator)?;
        let request = Self {
            identity,
            role,
            made,
            operator: operator.to_owned(),
            signature: r.array()?,
        };
        r.finish()?;
        Ok(request)
    }

    fn text(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.put(&MAGIC).u8(VERSION).put(&self.identity.to_bytes());
        w.u8(u8::from(self.role == Role::Gateway)).u64(self.made.0);
        // At most OPERATOR_MAX.
        w.u16(self.operator.len() as u16)
            .put(self.operator.as_bytes());
        w.into_vec()
    }

    fn message(&self, network: &NetworkId) -> Vec<u8> {
        [&network.0[..], &self.text()].concat()
    }
}

/// What is shown to people is text.
fn check_operator(name: &str) -> Result<(), DecodeError> {
    if name.len() > OPERATOR_MAX {
        return Err(DecodeError::TooLong("operator"));
    }
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(DecodeError::Invalid("operator"));
    }
    Ok(())
}
