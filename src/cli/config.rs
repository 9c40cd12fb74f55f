//! `--config FILE`: flags in a TOML file, each under its own name.
//!
//! Each key is parsed as the flag that it names, so that both have the same grammar, checks and messages, and an error
//! names the file and the line. Its values then become the argument's default, which the command line overrides. No file
//! is read unless it is named.
//!
//! The file must not contain the token, since it is meant to be committed. If it does anyway, errors do not quote a
//! line of it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, ArgMatches, Command, Id, builder::Resettable, parser::ValueSource};
use toml::de::{DeTable, DeValue};

use super::without_credentials;
use crate::fs::io_hint;

/// The flag that names the file. It cannot be a key.
const CONFIG: &str = "config";
/// Maximum size in bytes: a larger file is not a config file.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Parts of key names that indicate a secret.
const SECRETS: [&str; 7] = ["token", "api-key", "apikey", "secret", "password", "authorization", "bearer"];
/// Minimum similarity of a flag that an unknown key may mean.
const SIMILAR: f64 = 0.75;

/// Why a file of flags cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ConfigError {
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// Returns `definition` with the flags of the `--config` file, if one is given, as defaults.
pub(super) fn with_file(definition: Command, arguments: &[OsString]) -> Result<Command, ConfigError> {
    // Errors in the command line are reported when it is parsed together with the file's flags.
    let line = definition.clone().ignore_errors(true).try_get_matches_from(arguments);
    let Some((command, line)) = line.as_ref().ok().and_then(ArgMatches::subcommand) else { return Ok(definition) };
    let Ok(Some(path)) = line.try_get_one::<PathBuf>(CONFIG) else { return Ok(definition) };
    let (text, flags) = (read(path)?, all_flags(&definition, command));
    let mut entries = ConfigFile { path, text: &text, command, flags: &flags }.entries()?;
    let excludes = |one: &Arg, other: &Arg| flags.get_arg_conflicts_with(one).contains(&other);
    let conflict = |one: &Arg, other: &Arg| excludes(one, other) || excludes(other, one);
    let is_given = |argument: &&Arg| {
        let is_typed = |id: &Id| line.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        line.ids().any(|id| id == argument.get_id() && is_typed(id))
    };
    entries.retain(|(argument, _)| !flags.get_arguments().filter(is_given).any(|given| conflict(given, argument)));
    let with_entry = |argument: Arg| {
        if let Some((_, values)) = entries.iter().find(|(own, _)| *own == &argument) {
            argument.required(false).env(Resettable::Reset).default_values(values)
        } else if entries.iter().any(|(own, _)| conflict(own, &argument)) {
            argument.env(Resettable::Reset)
        } else {
            argument
        }
    };
    Ok(definition.mut_args(with_entry).mut_subcommand(command, |command| command.mut_args(with_entry)))
}

/// The arguments of this and all other commands that read a config file, as optional flags of one command.
fn all_flags(definition: &Command, command: &str) -> Command {
    let reads_file = |command: &&Command| command.get_arguments().any(|argument| argument.get_id() == CONFIG);
    // Of several arguments of one name, the command's own is last, and kept.
    let commands = definition.get_subcommands().filter(reads_file).chain([definition]);
    let commands = commands.chain(definition.find_subcommand(command));
    let arguments = commands.flat_map(Command::get_arguments).map(|argument| (argument.get_id().as_str(), argument));
    let mut arguments: BTreeMap<_, _> = arguments.collect();
    arguments.remove(CONFIG);
    let flags = arguments.into_iter().map(|(id, argument)| {
        let key = match id {
            "inputs" => "input",
            "sources" => "dir",
            _ => argument.get_long().unwrap_or(id),
        };
        argument.clone().long(key.to_owned()).required(false).env(Resettable::Reset)
    });
    Command::new("backlinks-export").disable_help_flag(true).args(flags)
}

struct ConfigFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// The name of the command to run.
    command: &'a str,
    /// All flags that a file may contain.
    flags: &'a Command,
}

impl<'a> ConfigFile<'a> {
    /// The arguments and their values, in the order of the file.
    fn entries(&self) -> Result<Vec<(&'a Arg, Vec<String>)>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let hint = "write one flag per line, text in quotes: max-cost = 50, out = \"out/audit\", sandbox = true";
            self.error(error.span().map_or(0, |span| span.start), error.message(), hint)
        })?;
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        // So that the first error is the first in the file.
        keys.sort_by_key(|(key, _)| key.span().start);
        let (mut entries, mut line) = (Vec::new(), vec!["backlinks-export".to_owned()]);
        for (key, value) in keys {
            let (start, key, value) = (key.span().start, key.get_ref(), value.get_ref());
            let argument = self.flags.get_arguments().find(|argument| argument.get_long() == Some(key));
            let argument = argument.ok_or_else(|| self.unknown(start, key, value.is_table()))?;
            let values = values(argument, value).map_err(|(takes, example)| {
                self.error(start, format!("{key} takes {takes}"), format!("write it as {key} = {example}"))
            })?;
            let is_switch = !argument.get_action().takes_values();
            let flag = |value| if is_switch { format!("--{key}") } else { format!("--{key}={value}") };
            line.extend(values.iter().map(flag));
            self.check(&line, start)?;
            if !values.is_empty() {
                entries.push((argument, values));
            }
        }
        Ok(entries)
    }

    /// Checks flags as a command line of their own.
    fn check(&self, line: &[String], start: usize) -> Result<(), ConfigError> {
        let Err(error) = self.flags.clone().try_get_matches_from(line) else { return Ok(()) };
        let text = without_credentials(error).render().to_string();
        let mut parts = text.split("\n\n");
        let first = parts.next().unwrap_or_default().trim_start_matches("error: ");
        let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let tip = parts.find_map(|part| part.trim().strip_prefix("tip: ")).map(str::to_owned);
        let hint = || format!("values are the same as for the flag; see backlinks-export {} --help", self.command);
        Err(self.error(start, message, tip.unwrap_or_else(hint)))
    }

    /// The error for a key that no command has.
    fn unknown(&self, start: usize, key: &str, is_table: bool) -> ConfigError {
        let name = key.to_lowercase().replace('_', "-");
        if SECRETS.iter().any(|secret| name.contains(secret)) {
            let hint = "move the token to its own file and set token-file to its path, or set AISA_API_KEY; replace \
                        the token if this file was shared";
            return self.error(start, "tokens are not allowed in this file", hint);
        }
        if is_table {
            let message = format!("{key} is a table, but flags are top-level keys");
            return self.error(start, message, "write it as max-cost = 50, not under a [table] header");
        }
        let flags = self.flags.get_arguments().filter_map(Arg::get_long);
        let similar = flags.map(|flag| (strsim::jaro(&name, flag), flag));
        let hint = match similar.max_by(|one, other| one.0.total_cmp(&other.0)) {
            Some((similarity, meant)) if similarity > SIMILAR => format!("did you mean {meant}?"),
            _ => format!("keys are flags without the leading dashes; see backlinks-export {} --help", self.command),
        };
        self.error(start, format!("unknown key {key}"), hint)
    }

    /// An error in the line that has the byte at `start`.
    fn error(&self, start: usize, message: impl Display, hint: impl Into<String>) -> ConfigError {
        let line = self.text.get(..start).unwrap_or(self.text).matches('\n').count() + 1;
        ConfigError { message: format!("{}:{line}: {message}", self.path.display()), hint: hint.into() }
    }
}

/// A key's values as on a command line, none if it turns a switch off; the error is what the key takes, and an example.
fn values(argument: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, (&'static str, &'static str)> {
    match (argument.get_action(), value) {
        (ArgAction::SetTrue | ArgAction::Count, DeValue::Boolean(false)) => Ok(vec![]),
        (ArgAction::SetTrue, DeValue::Boolean(true)) => Ok(vec!["true".to_owned()]),
        (ArgAction::SetTrue, _) => Err(("true or false", "true")),
        (ArgAction::Count, DeValue::Boolean(true)) => Ok(vec!["1".to_owned()]),
        (ArgAction::Count, number) => match scalar(number).map(|text| text.parse::<u8>()) {
            Some(Ok(times)) => Ok((times > 0).then(|| times.to_string()).into_iter().collect()),
            _ => Err(("a number, the count of repetitions", "1")),
        },
        (ArgAction::Append, DeValue::Array(items)) => {
            let values = items.iter().map(|item| scalar(item.get_ref())).collect::<Option<_>>();
            values.ok_or(("a list of strings", "[\"first\", \"second\"]"))
        }
        (_, DeValue::Array(_)) => Err(("one value, not a list", "\"…\"")),
        (_, single) => scalar(single).map(|text| vec![text]).ok_or(("a string or a number", "\"…\"")),
    }
}

/// A value as it would be written on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(i128::from_str_radix(number.as_str(), number.radix()).ok()?.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Datetime(moment) => Some(moment.to_string()),
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let text = File::open(path).and_then(|file| io::read_to_string(file.take(MAX_FILE_BYTES + 1)));
    let (message, hint) = match text {
        Ok(text) if text.len() as u64 <= MAX_FILE_BYTES => return Ok(text),
        Err(source) if source.kind() != io::ErrorKind::InvalidData => {
            let hint = io_hint(&source).unwrap_or("check the path; relative paths start from the current directory");
            (format!("cannot read --config {}: {source}", path.display()), hint)
        }
        _ => {
            let (path, max) = (path.display(), MAX_FILE_BYTES >> 10);
            let hint = "use a TOML file with one flag per line, such as max-cost = 50";
            (format!("--config {path} is not a text file of at most {max} KiB"), hint)
        }
    };
    Err(ConfigError { message, hint: hint.to_owned() })
}
