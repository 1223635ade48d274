//! `mixnode join` and `gateway join`: the request that a node's operator sends to those of the authorities.
//!
//! Reads the key and signs; works whether the node runs or not. What is asked for, and how it is checked, is
//! [`directory::JoinRequest`].

use super::NodeError;
use super::foundation::{IDENTITY_FILE, operator_name, read_network};
use super::settings::Settings;
use crate::clock::Clock;
use crate::keyfile;
use directory::{JoinRequest, Role};

/// What is to be said.
pub fn run(name: &str, role: Role, settings: &Settings) -> Result<String, NodeError> {
    let network = read_network(&settings.network)?;
    let path = settings.data_dir.join(IDENTITY_FILE);
    let Some(identity) = keyfile::read_identity(&path)? else {
        let message = format!(
            "{} is not there: `{name} init` or the first `{name} run` makes it",
            path.display()
        );
        return Err(NodeError::value("data_dir", message));
    };
    let operator = operator_name(&identity.public(), &settings.operator);
    let now = Clock::start().unix();
    let request = JoinRequest::sign(role, &operator, now, &identity, network.id())
        .map_err(|error| NodeError::value("operator", error.to_string()))?;
    Ok(request.to_text())
}
