//! What a server of either kind has.

use std::path::PathBuf;

use crate::directory::Directory;
use crate::kind::{Fault, Kind};

/// A server that is configured and perhaps runs.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) program: PathBuf,
    pub(crate) directory: Directory,
    /// One for each node.
    pub(crate) ports: Vec<u16>,
    /// Of the user that connects, and of PostgreSQL's superuser.
    pub(crate) password: String,
    pub(crate) fault: Option<Fault>,
}
