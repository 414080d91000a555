//! Takes `options` apart, for a driver that does not accept them as one text.

use crate::config::Config;
use crate::error::ConfigError;

impl Config {
    /// Returns the settings in `options` as names and values: `-c name=value` and `--name=value`.
    ///
    /// # Errors
    ///
    /// Returns an error if there is another kind of option.
    pub fn server_settings(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let mut settings = Vec::new();
        let mut words = split(self.options.as_deref().unwrap_or_default()).into_iter();
        while let Some(word) = words.next() {
            let setting = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
                Some("") if word == "-c" => words.next(),
                setting => setting.map(str::to_owned),
            };
            let setting = setting.as_ref().and_then(|setting| setting.split_once('='));
            let (name, value) = setting.ok_or_else(|| {
                let problem =
                    "options is not valid: this driver accepts only -c name=value and --name=value";
                ConfigError::Driver(problem.to_owned())
            })?;
            settings.push((name.to_owned(), value.to_owned()));
        }
        Ok(settings)
    }
}

/// Splits at white space. A backslash escapes the character after it.
///
/// Source: PostgreSQL's documentation of `options`, and `pg_split_opts` in its source.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character.is_ascii_whitespace() {
            words.extend(word.take());
        } else if character == '\\' {
            word.get_or_insert_default().extend(characters.next());
        } else {
            word.get_or_insert_default().push(character);
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_split_into_names_and_values_as_the_server_does() {
        let mut config = Config::from_url("postgresql://h").unwrap();
        let mut settings = |options: &str| {
            config.options = Some(options.to_owned());
            let settings = config
                .server_settings()
                .map_err(|error| error.to_string())?;
            let pairs = settings
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            Ok::<_, String>(pairs.collect::<Vec<_>>().join("|"))
        };
        assert_eq!(settings("").unwrap(), "");
        assert_eq!(
            settings("--cluster=a-1  -c b=2 -cc=3=4").unwrap(),
            "cluster=a-1|b=2|c=3=4"
        );
        assert_eq!(
            settings(r"-c search_path=a\ b\\c").unwrap(),
            r"search_path=a b\c"
        );
        for other in ["-d 5", "-c", "-c a", "--a", "text"] {
            assert!(
                settings(other)
                    .unwrap_err()
                    .starts_with("options is not valid"),
                "{other}"
            );
        }
    }
}
