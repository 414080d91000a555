//! The value of the header `Idempotency-Key`.

use axum::http::HeaderMap;

/// Returns the key: the content of a quoted string, as the IETF's draft has it, or a token. Returns
/// `None` if there is no such header, if there are several, or if one could be read in two ways.
pub fn key(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("Idempotency-Key").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let value = value.to_str().ok()?;
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    let is_token = |c: char| c.is_ascii_alphanumeric() || "-._~:/+=".contains(c);
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted).filter(|key| key.chars().all(is_printable))?,
        // Between colons stand bytes in base64.
        None if value.starts_with(':') => return None,
        None => Some(value.to_owned()).filter(|key| key.chars().all(is_token))?,
    };
    Some(key).filter(|key| (1..=255).contains(&key.len()))
}

/// Reads a string of RFC 8941 after its first quote.
fn unquote(quoted: &str) -> Option<String> {
    let mut chars = quoted.strip_suffix('"')?.chars();
    let mut key = String::new();
    while let Some(c) = chars.next() {
        key.push(match c {
            '"' => return None,
            '\\' => chars.next().filter(|c| ['"', '\\'].contains(c))?,
            c => c,
        });
    }
    Some(key)
}
