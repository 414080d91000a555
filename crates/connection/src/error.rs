//! [`ConfigError`]: what is wrong with the settings.

use std::fmt;

/// Settings that cannot be used.
///
/// The message says what is wrong and what to do. It contains no text that may be a piece of a
/// password. `Debug` is `Display`.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl<T: Into<String>> From<T> for ConfigError {
    fn from(message: T) -> ConfigError {
        ConfigError(message.into())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
