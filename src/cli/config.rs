//! `--config FILE`: flags in a TOML file, each under its own name.
//!
//! The file's keys become arguments before the user's own, and `clap` parses them as one command line, so that both
//! have the same grammar, checks and messages. Each key is first parsed by itself, so that an error names the file and
//! the line. No file is read unless it is named.
//!
//! The file must not contain the token, since it is meant to be committed. In case it does, errors never quote a line
//! of it.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::File,
    io::{self, Read},
    iter,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, CommandFactory, Id,
    builder::OsStringValueParser,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use toml::de::{DeTable, DeValue};

use super::{Cli, without_credentials};
use crate::fs::io_hint;

/// The flag that names the file. It cannot be a key.
const CONFIG: &str = "config";
/// The keys of arguments that have no flag.
const POSITIONALS: [(&str, &str); 2] = [("inputs", "input"), ("sources", "dir")];
/// Maximum size in bytes: a longer file does not contain flags.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Parts of key names that indicate a secret.
const SECRETS: [&str; 7] = ["token", "api-key", "apikey", "secret", "password", "authorization", "bearer"];
/// How often a counted flag can be repeated.
const MAX_REPEATED: usize = 9;

/// Why a file of flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read --config {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("--config {} is not a text file of at most {} KiB", .0.display(), MAX_FILE_BYTES >> 10)]
    NotText(PathBuf),
    /// An error in the file. `place` is the file and the line.
    #[error("{place}: {message}")]
    Content { place: String, message: String, hint: String },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> &str {
        match self {
            Self::Io { source, .. } => {
                io_hint(source).unwrap_or("check the path; relative paths start from the current directory")
            }
            Self::NotText(_) => "use a TOML file with one flag per line, such as max-cost = 50",
            Self::Content { hint, .. } => hint,
        }
    }
}

/// The arguments, preceded by those of the config file that they name, if any.
pub(super) fn with_file(arguments: Vec<OsString>) -> Result<Vec<OsString>, ConfigError> {
    let Some(line) = CommandLine::parse(&arguments) else { return Ok(arguments) };
    let text = read(&line.config)?;
    let file = ConfigFile { path: &line.config, text: &text, command: &line.command, definition: definition() };
    let (head, own) = arguments.split_at(line.own_arguments);
    let (mut all, mut positionals) = (head.to_vec(), Vec::new());
    for (argument, flags) in file.flags()? {
        if line.overrides(file.command(&line.command), argument) {
            continue;
        }
        let flags = flags.into_iter();
        if POSITIONALS.iter().any(|(id, _)| argument.get_id() == *id) {
            positionals.extend(flags.filter_map(|flag| flag.split_once('=').map(|(_, value)| OsString::from(value))));
        } else {
            all.extend(flags.map(OsString::from));
        }
    }
    all.extend_from_slice(own);
    // File names may begin with a dash.
    if !positionals.is_empty() && !own.iter().any(|argument| argument == "--") {
        all.push("--".into());
    }
    all.extend(positionals);
    Ok(all)
}

/// What reading the file requires from the user's own arguments.
struct CommandLine {
    command: String,
    config: PathBuf,
    /// The arguments that are on the command line.
    given: HashSet<Id>,
    /// The index of the command's first argument.
    own_arguments: usize,
}

impl CommandLine {
    /// `None` if no file is named, or if the command line itself is wrong, which is reported later.
    fn parse(arguments: &[OsString]) -> Option<Self> {
        let any_text = |argument: Arg| {
            let takes_values = argument.get_action().takes_values();
            if takes_values { argument.required(false).value_parser(OsStringValueParser::new()) } else { argument }
        };
        let lenient = Cli::command().mut_args(any_text).mut_subcommands(|command| command.mut_args(any_text));
        let matches = lenient.try_get_matches_from(arguments).ok()?;
        let (command, matches) = matches.subcommand()?;
        let is_given = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        Some(Self {
            command: command.to_owned(),
            config: matches.try_get_one::<OsString>(CONFIG).ok()??.into(),
            given: matches.ids().filter(is_given).cloned().collect(),
            own_arguments: arguments.iter().skip(1).position(|argument| argument == command)? + 2,
        })
    }

    /// Whether the command line has this argument, or one that conflicts with it.
    fn overrides(&self, command: &Command, argument: &Arg) -> bool {
        let excludes = |one: &Arg, other: &Arg| {
            command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other.get_id())
        };
        let mut given = command.get_arguments().filter(|one| self.given.contains(one.get_id()));
        given.any(|one| one.get_id() == argument.get_id() || excludes(one, argument) || excludes(argument, one))
    }
}

/// The command-line definition with every argument as an optional flag.
fn definition() -> Command {
    let as_flag = |argument: Arg| {
        let argument = argument.required(false);
        match POSITIONALS.iter().find(|(id, _)| argument.get_id() == *id) {
            Some((_, key)) => argument.long(*key),
            None => argument,
        }
    };
    let mut definition = Cli::command().mut_subcommands(|command| command.mut_args(as_flag));
    definition.build();
    definition
}

struct ConfigFile<'a> {
    path: &'a Path,
    text: &'a str,
    /// The command to run.
    command: &'a str,
    definition: Command,
}

impl ConfigFile<'_> {
    /// The command's arguments with their values as flags, in the order of the file. Keys of other commands are only
    /// checked.
    fn flags(&self) -> Result<Vec<(&Arg, Vec<String>)>, ConfigError> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let hint = "write one flag per line, text in quotes: max-cost = 50, out = \"out/audit\", sandbox = true";
            self.error(error.span().map_or(0, |span| span.start), error.message(), hint)
        })?;
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        // So that the first error is the first in the file.
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut all = Vec::new();
        for (key, value) in entries {
            let (start, key, value) = (key.span().start, key.get_ref(), value.get_ref());
            let (command, argument) = self.find(key).ok_or_else(|| self.unknown(start, key, value.is_table()))?;
            let flags = as_flags(argument, key, value).map_err(|(takes, example)| {
                self.error(start, &format!("{key} {takes}"), &format!("write it as {key} = {example}"))
            })?;
            self.check(command.get_name(), &flags, self.place(start))?;
            if command.get_name() == self.command {
                all.push((argument, flags));
            }
        }
        let together = all.iter().flat_map(|(_, flags)| flags);
        self.check(self.command, together, self.path.display().to_string())?;
        Ok(all)
    }

    fn command(&self, name: &str) -> &Command {
        self.definition.find_subcommand(name).expect("a command of this program")
    }

    /// The command's argument of that name, or else that of another command that reads a config file.
    fn find(&self, key: &str) -> Option<(&Command, &Arg)> {
        let takes_file = |command: &&Command| command.get_arguments().any(|argument| argument.get_id() == CONFIG);
        let others = self.definition.get_subcommands().filter(takes_file);
        let is_help = |argument: &Arg| {
            use ArgAction::{Help, HelpLong, HelpShort, Version};
            matches!(argument.get_action(), Help | HelpShort | HelpLong | Version)
        };
        iter::once(self.command(self.command)).chain(others).find_map(|command| {
            let is_it =
                |argument: &&Arg| argument.get_long() == Some(key) && argument.get_id() != CONFIG && !is_help(argument);
            command.get_arguments().find(is_it).map(|argument| (command, argument))
        })
    }

    /// Checks flags by themselves.
    fn check<'f>(
        &self,
        command: &'f str,
        flags: impl IntoIterator<Item = &'f String>,
        place: String,
    ) -> Result<(), ConfigError> {
        let line = ["backlinks-export", command].into_iter().chain(flags.into_iter().map(String::as_str));
        let Err(error) = self.definition.clone().try_get_matches_from(line) else { return Ok(()) };
        let text = without_credentials(error).render().to_string();
        let mut parts = text.split("\n\n");
        let first = parts.next().unwrap_or_default().trim_start_matches("error: ");
        let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let tip = parts.find_map(|part| part.trim().strip_prefix("tip: ")).map(str::to_owned);
        let hint = || format!("values are the same as for the flag; see backlinks-export {command} --help");
        Err(ConfigError::Content { place, message, hint: tip.unwrap_or_else(hint) })
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
            return self.error(start, &message, "write it as max-cost = 50, not under a [table] header");
        }
        let similar = || {
            let line = ["backlinks-export", self.command, &format!("--{key}")];
            let error = self.definition.clone().try_get_matches_from(line).err()?;
            match error.get(ContextKind::SuggestedArg)? {
                ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
                _ => None,
            }
        };
        let meant = if self.find(&name).is_some() { Some(name) } else { similar() };
        let hint = match meant {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("keys are flags without the leading dashes; see backlinks-export {} --help", self.command),
        };
        self.error(start, &format!("unknown key {key}"), &hint)
    }

    fn error(&self, start: usize, message: &str, hint: &str) -> ConfigError {
        ConfigError::Content { place: self.place(start), message: message.to_owned(), hint: hint.to_owned() }
    }

    fn place(&self, start: usize) -> String {
        let line = self.text.get(..start).unwrap_or(self.text).matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }
}

/// A key's values as flags; the error is what the key accepts, with an example.
fn as_flags(argument: &Arg, key: &str, value: &DeValue<'_>) -> Result<Vec<String>, (&'static str, &'static str)> {
    let flag = format!("--{key}");
    let with_value = |value: &DeValue<'_>| scalar(value).map(|text| format!("{flag}={text}"));
    let (flags, takes) = match (argument.get_action(), value) {
        (ArgAction::SetTrue, _) => {
            (value.as_bool().map(|is_set| vec![flag; is_set.into()]), ("takes true or false", "true"))
        }
        (ArgAction::Count, _) => {
            let times = match value {
                DeValue::Boolean(is_set) => Some((*is_set).into()),
                DeValue::Integer(_) => scalar(value).and_then(|text| text.parse().ok()),
                _ => None,
            };
            let times = times.filter(|times| *times <= MAX_REPEATED);
            (times.map(|times| vec![flag; times]), ("takes a number, the count of repetitions", "1"))
        }
        (ArgAction::Append, _) => {
            let flags = match value {
                DeValue::Array(items) => items.iter().map(|item| with_value(item.get_ref())).collect(),
                single => with_value(single).map(|flag| vec![flag]),
            };
            (flags, ("takes a list of strings", "[\"first\", \"second\"]"))
        }
        (_, DeValue::Array(_)) => (None, ("takes one value, not a list", "\"…\"")),
        (_, single) => (with_value(single).map(|flag| vec![flag]), ("takes a string or a number", "\"…\"")),
    };
    flags.ok_or(takes)
}

/// A value as it would be written on a command line.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            let decimal = i128::from_str_radix(number.as_str(), number.radix()).ok();
            Some(decimal.map_or_else(|| number.as_str().to_owned(), |decimal| decimal.to_string()))
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Datetime(moment) => Some(moment.to_string()),
        DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let fails = |source| ConfigError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fails)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fails)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::NotText(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))
}
