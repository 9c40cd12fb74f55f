//! `--config FILE`: flags kept in a TOML file, each under its own name.
//!
//! The file becomes arguments that stand before the user's own, and `clap` reads all of them as one command line: one
//! grammar, one set of checks, the same messages. Each key is first read by itself, so that an error names the
//! file and the line. Nothing is looked for where it is not named: there is no file that is read unasked.
//!
//! The token never stands in such a file, since it is made to be kept with the code; nor is a line of it ever repeated
//! in an error, in case it does.

mod error;

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use clap::{
    Arg, ArgAction, Command, CommandFactory, Id,
    builder::OsStringValueParser,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub use self::error::ConfigError;
use super::{Cli, without_credentials};

/// The flag that names the file, and its key, which no file may have.
const CONFIG: &str = "config";
/// What stands for arguments that have no flag.
const POSITIONALS: [(&str, &str); 2] = [("inputs", "input"), ("sources", "dir")];
/// A longer file is none of flags.
const LONGEST: u64 = 256 * 1024;
/// What a key's name has in it that is meant to hold a secret.
const SECRETS: [&str; 7] = ["token", "api-key", "apikey", "secret", "password", "authorization", "bearer"];
/// Most that a counted flag is repeated.
const MOST_REPEATED: usize = 9;

/// The arguments with those of the file that they name, if they name one.
pub(super) fn with_file(arguments: Vec<OsString>) -> Result<Vec<OsString>, ConfigError> {
    let Some(given) = Given::find(&arguments) else { return Ok(arguments) };
    let text = read(&given.path)?;
    let keys = Keys::new();
    let (mut flags, mut behind) = (Vec::new(), Vec::new());
    for (argument, values) in keys.read(&text, &given)? {
        if given.gives(&keys, &argument) {
            continue;
        }
        let is_positional = POSITIONALS.iter().any(|(id, _)| argument.get_id() == *id);
        if is_positional { behind.extend(values.into_iter().map(|value| value.text)) } else { flags.extend(values) }
    }
    let (head, own) = arguments.split_at(given.place);
    let mut all = head.to_vec();
    all.extend(flags.into_iter().map(|value| value.flag));
    all.extend_from_slice(own);
    if !behind.is_empty() {
        // Files whose names begin with a dash are names all the same.
        if !own.iter().any(|argument| argument == "--") {
            all.push("--".into());
        }
        all.extend(behind);
    }
    Ok(all)
}

/// What the user's own arguments say, as far as the file has to know it.
struct Given {
    /// The command.
    command: String,
    /// The file.
    path: PathBuf,
    /// Arguments that the command line gives.
    ids: HashSet<Id>,
    /// Where the command's own arguments begin.
    place: usize,
}

impl Given {
    /// `None`: no file is named, or the command line is wrong by itself, which is found out later.
    fn find(arguments: &[OsString]) -> Option<Self> {
        let any_text = |argument: Arg| {
            let takes_values = argument.get_action().takes_values();
            if takes_values { argument.required(false).value_parser(OsStringValueParser::new()) } else { argument }
        };
        let lenient = Cli::command().mut_args(any_text).mut_subcommands(|command| command.mut_args(any_text));
        let matches = lenient.try_get_matches_from(arguments).ok()?;
        let (command, matches) = matches.subcommand()?;
        let path = matches.try_get_one::<OsString>(CONFIG).ok()??.into();
        let on_the_line = |id: &&Id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        let place = arguments.iter().skip(1).position(|argument| argument == command)? + 2;
        Some(Self {
            command: command.to_owned(),
            path,
            ids: matches.ids().filter(on_the_line).cloned().collect(),
            place,
        })
    }

    /// Whether the command line gives an argument, or one that excludes it.
    fn gives(&self, keys: &Keys, argument: &Arg) -> bool {
        let command = keys.command(&self.command);
        let excludes =
            |one: &Arg, other: &Id| command.get_arg_conflicts_with(one).iter().any(|arg| arg.get_id() == other);
        self.ids.contains(argument.get_id())
            || command
                .get_arguments()
                .filter(|one| self.ids.contains(one.get_id()))
                .any(|one| excludes(one, argument.get_id()) || excludes(argument, one.get_id()))
    }

    fn place(&self, text: &str, offset: usize) -> String {
        let line = text.get(..offset).unwrap_or(text).matches('\n').count() + 1;
        format!("{}:{line}", self.path.display())
    }
}

/// One value of a key.
struct Value {
    /// As written.
    text: OsString,
    /// With its flag.
    flag: OsString,
}

/// The keys of all commands that take a file.
struct Keys {
    definition: Command,
}

impl Keys {
    /// The definition of the command line, in which every argument is a flag and can stand alone.
    fn new() -> Self {
        let as_flag = |argument: Arg| {
            let argument = argument.required(false);
            match POSITIONALS.iter().find(|(id, _)| argument.get_id() == *id) {
                Some((_, key)) => argument.long(*key),
                None => argument,
            }
        };
        let mut definition = Cli::command().mut_subcommands(|command| command.mut_args(as_flag));
        definition.build();
        Self { definition }
    }

    fn command(&self, name: &str) -> &Command {
        self.definition.find_subcommand(name).expect("it was found before")
    }

    /// The command's own argument, or that of another command which takes a file.
    fn find(&self, command: &str, key: &str) -> Option<(&Command, &Arg)> {
        let takes_file = |command: &&Command| command.get_arguments().any(|argument| argument.get_id() == CONFIG);
        let others = self.definition.get_subcommands().filter(takes_file);
        std::iter::once(self.command(command)).chain(others).find_map(|command| {
            let named = |argument: &&Arg| argument.get_long() == Some(key) && !argument.is_help_or_own();
            Some((command, command.get_arguments().find(named)?))
        })
    }

    /// The file's keys that concern the command, with their values; all keys are checked.
    fn read(&self, text: &str, given: &Given) -> Result<Vec<(Arg, Vec<Value>)>, ConfigError> {
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            place: given.place(text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        // By their places, so that the first error is the first in the file.
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut read = Vec::new();
        for (key, value) in entries {
            let place = given.place(text, key.span().start);
            let Some((command, argument)) = self.find(&given.command, key.get_ref()) else {
                return Err(self.unknown(place, key.get_ref(), value.get_ref().is_table(), given));
            };
            let values = values(argument, value).map_err(|(wanted, example)| {
                let key = key.get_ref().to_string();
                ConfigError::Kind { place: place.clone(), key, wanted, example }
            })?;
            self.check(command.get_name(), &values, place)?;
            if command.get_name() == given.command {
                read.push((argument.clone(), values));
            }
        }
        let all = read.iter().flat_map(|(_, values)| values);
        self.check_all(&given.command, all, given.path.display().to_string())?;
        Ok(read)
    }

    fn unknown(&self, place: String, key: &str, is_table: bool, given: &Given) -> ConfigError {
        let name = key.to_lowercase().replace('_', "-");
        if SECRETS.iter().any(|secret| name.contains(secret)) {
            return ConfigError::Secret { place };
        }
        if is_table {
            let (key, example) = (key.to_owned(), "max-cost = 50, not under a [table] header".to_owned());
            return ConfigError::Kind { place, key, wanted: "is a table, but flags are top-level keys", example };
        }
        let exact = self.find(&given.command, &name).map(|_| name);
        let similar = exact.or_else(|| {
            let line = ["backlinks-export", &given.command, &format!("--{key}")];
            let error = self.definition.clone().try_get_matches_from(line).err()?;
            match error.get(ContextKind::SuggestedArg)? {
                ContextValue::String(flag) => Some(flag.trim_start_matches('-').to_owned()),
                _ => None,
            }
        });
        ConfigError::Unknown { place, key: key.to_owned(), similar, command: given.command.clone() }
    }

    fn check(&self, command: &str, values: &[Value], place: String) -> Result<(), ConfigError> {
        self.check_all(command, values.iter(), place)
    }

    /// Reads values as flags, without anything else on the line.
    fn check_all<'a>(
        &self,
        command: &str,
        values: impl Iterator<Item = &'a Value>,
        place: String,
    ) -> Result<(), ConfigError> {
        let line = ["backlinks-export".as_ref(), command.as_ref()].into_iter();
        let line = line.chain(values.map(|value| value.flag.as_os_str())).map(OsStr::to_owned);
        let Err(error) = self.definition.clone().try_get_matches_from(line) else { return Ok(()) };
        let told = without_credentials(error).render().to_string();
        let mut parts = told.split("\n\n");
        let first = parts.next().unwrap_or_default().trim_start_matches("error: ");
        let message = first.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let tip = parts.find_map(|part| part.trim().strip_prefix("tip: ")).map(str::to_owned);
        Err(ConfigError::Value { place, message, tip, command: command.to_owned() })
    }
}

/// What is asked of an argument.
trait Named {
    /// Whether it is one that no file can give.
    fn is_help_or_own(&self) -> bool;
}

impl Named for Arg {
    fn is_help_or_own(&self) -> bool {
        self.get_id() == CONFIG
            || matches!(
                self.get_action(),
                ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
            )
    }
}

/// A key's values as flags; `Err`: what it takes, and how to write it.
fn values(argument: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<Value>, (&'static str, String)> {
    let key = argument.get_long().unwrap_or_default();
    let with_value = |text: String| Value { flag: format!("--{key}={text}").into(), text: text.into() };
    let bare = |times: usize| (0..times).map(|_| Value { text: OsString::new(), flag: format!("--{key}").into() });
    match (argument.get_action(), value.get_ref()) {
        (ArgAction::SetTrue | ArgAction::Count, DeValue::Boolean(is_set)) => Ok(bare((*is_set).into()).collect()),
        (ArgAction::SetTrue, _) => Err(("takes true or false", format!("{key} = true"))),
        (ArgAction::Count, DeValue::Integer(_)) => {
            let times = scalar(value.get_ref()).and_then(|text| text.parse().ok());
            let times = times.filter(|times| *times <= MOST_REPEATED);
            times
                .map(|times| bare(times).collect())
                .ok_or_else(|| ("takes a number, the count of repetitions", format!("{key} = 2")))
        }
        (ArgAction::Count, _) => Err(("takes a number, the count of repetitions", format!("{key} = 1"))),
        (ArgAction::Append, DeValue::Array(items)) => {
            let texts: Option<Vec<_>> = items.iter().map(|item| scalar(item.get_ref()).map(with_value)).collect();
            texts.ok_or_else(|| ("takes a list of strings", format!("{key} = [\"first\", \"second\"]")))
        }
        (ArgAction::Append, single) => match scalar(single) {
            Some(text) => Ok(vec![with_value(text)]),
            None => Err(("takes a list of strings", format!("{key} = [\"first\", \"second\"]"))),
        },
        (_, DeValue::Array(_)) => Err(("takes one value, not a list", format!("{key} = \"…\""))),
        (_, single) => match scalar(single) {
            Some(text) => Ok(vec![with_value(text)]),
            None => Err(("takes a string or a number", format!("{key} = \"…\""))),
        },
    }
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
    File::open(path).map_err(fails)?.take(LONGEST + 1).read_to_end(&mut bytes).map_err(fails)?;
    if bytes.len() as u64 > LONGEST {
        return Err(ConfigError::NotText(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| ConfigError::NotText(path.to_owned()))
}
