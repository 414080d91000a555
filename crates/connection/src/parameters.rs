//! The parameters of a connection string: their table, their values and their files.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{PathBuf, absolute};

use percent_encoding::percent_decode_str;

use crate::explain::{ConnectError, ensure, refuse};

/// Each parameter that all drivers support, with its variable and its default.
pub(crate) const PARAMETERS: [(&str, &str, &str); 7] = [
    ("application_name", "PGAPPNAME", ""),
    ("connect_timeout", "PGCONNECT_TIMEOUT", "10"),
    ("options", "PGOPTIONS", ""),
    ("sslcert", "PGSSLCERT", ""),
    ("sslkey", "PGSSLKEY", ""),
    ("sslmode", "PGSSLMODE", "verify-full"),
    ("sslrootcert", "PGSSLROOTCERT", ""),
];

/// The values by name, decoded. No value is empty.
pub(crate) type Parameters = BTreeMap<&'static str, String>;

/// Reads the query of a URL. What it leaves out comes from the variables, then from the defaults.
pub(crate) fn read(
    query: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Parameters, ConnectError> {
    let mut parameters = parse(query)?;
    for (name, from, default) in PARAMETERS {
        let value = variable(from).unwrap_or(default.to_owned());
        parameters.entry(name).or_insert(value);
    }
    parameters.retain(|_, value| !value.is_empty());
    let program = env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let name = parameters.entry("application_name");
    name.or_insert(program.into_owned());
    let timeout = &parameters["connect_timeout"];
    ensure(
        timeout.parse::<u16>().is_ok_and(|seconds| seconds > 0),
        "connect_timeout is not a whole number of seconds from 1 to 65535\nThe default is 10.",
    )?;
    resolve_tls(&mut parameters)?;
    Ok(parameters)
}

fn parse(query: &str) -> Result<Parameters, ConnectError> {
    let mut parameters = Parameters::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return refuse("a parameter has no \"=\"\nWrite ?name=value&name=value.");
        };
        let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
        let known = PARAMETERS.into_iter().find(|(known, ..)| *known == name);
        let Some((known, ..)) = known else {
            let all = PARAMETERS.map(|(name, ..)| name).join(", ");
            return refuse(&format!(
                "the parameter {name} is not supported\nRemove it. Supported are {all}."
            ));
        };
        let before = parameters.insert(known, value);
        ensure(
            before.is_none(),
            &format!("the parameter {name} is given twice\nRemove one of them."),
        )?;
    }
    parameters.retain(|_, value| !value.is_empty());
    Ok(parameters)
}

/// Replaces `sslmode` by `disable` or `verify-full`, and each file by its absolute path.
fn resolve_tls(parameters: &mut Parameters) -> Result<(), ConnectError> {
    let sslmode = parameters["sslmode"].as_str();
    if sslmode == "disable" {
        parameters.retain(|name, _| *name == "sslmode" || !name.starts_with("ssl"));
        return Ok(());
    }
    ensure(
        ["require", "verify-ca", "verify-full"].contains(&sslmode),
        "sslmode is not disable, require, verify-ca or verify-full\n\
         Write sslmode=verify-full. No other mode protects the connection.",
    )?;
    parameters.insert("sslmode", "verify-full".to_owned());
    ensure(
        parameters.contains_key("sslcert") == parameters.contains_key("sslkey"),
        "sslcert and sslkey go together\nName both files.",
    )?;
    let default = in_home(".postgresql/root.crt").filter(|path| path.is_file());
    let default = default.map_or("system".to_owned(), |path| path.display().to_string());
    parameters.entry("sslrootcert").or_insert(default);
    for name in ["sslcert", "sslkey", "sslrootcert"] {
        if let Some(value) = parameters.get_mut(name).filter(|value| *value != "system") {
            *value = find_file(name, value)?;
        }
    }
    // libpq asks for a pass phrase on the terminal.
    let key = parameters.get("sslkey").map(fs::read_to_string);
    ensure(
        !key.is_some_and(|key| key.is_ok_and(|key| key.contains("ENCRYPTED"))),
        "sslkey has a pass phrase\nRemove it: openssl pkey -in KEY -out NEW_KEY",
    )?;
    Ok(())
}

/// Returns the absolute path of a file.
fn find_file(name: &str, value: &str) -> Result<String, ConnectError> {
    let below_home = value.strip_prefix("~/").or(value.strip_prefix("$HOME/"));
    let path = below_home.and_then(in_home).or(absolute(value).ok());
    let path = path.unwrap_or_default();
    let shown = path.display().to_string();
    if path.is_file() {
        return Ok(shown);
    }
    // A value without a dot may be a key in base64, so it is not shown.
    let may_be_key = name == "sslkey" && !value.contains('.');
    if may_be_key || value.contains("-----BEGIN") || value.contains('\n') || value.len() > 150 {
        return refuse(&format!(
            "{name} is no file, but perhaps the text of one\nStore the text in a file, and name the file."
        ));
    }
    refuse(&format!(
        "{name}: there is no file {shown}\nStore the file there, or correct the name."
    ))
}

fn in_home(path: &str) -> Option<PathBuf> {
    let home = env::home_dir().filter(|home| home.is_absolute())?;
    Some(home.join(path))
}
