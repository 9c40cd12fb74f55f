//! Lines of several readings as one: a run that is given more later, shards that become one dataset.
//!
//! Lines are copied with the fate they had; nothing is judged anew.

use std::collections::HashSet;

use super::{Inputs, InputsBuilder, Line, LineStatus, RawLine, RawLineStatus, TargetRef};

impl Inputs {
    /// The lines that belong to a share of the targets: `holds` is asked about the target's name, or about what was
    /// written where that is no domain, so that every line falls into exactly one share.
    #[must_use]
    pub fn share(&self, holds: impl Fn(&str) -> bool) -> Self {
        let belongs = |line: &Line<'_>| match line.fate {
            LineStatus::Target(target) | LineStatus::Duplicate(target) => holds(target.as_str()),
            LineStatus::Rejected(_) => holds(line.input),
        };
        Self::gathered([self].into_iter(), |_, line| belongs(line)).with_remarks_of(self)
    }

    /// Whether `other` has the same lines of files of the same names, whatever folders those are in: the same input, by
    /// another spelling of its path.
    pub fn is_same_but_for_folders(&self, other: &Self) -> bool {
        fn name(file: &str) -> Option<&str> {
            file.rsplit('/').next()
        }
        let is_same = |(one, other): (Line<'_>, Line<'_>)| {
            (one.number, one.input, one.fate) == (other.number, other.input, other.fate)
                && name(one.file) == name(other.file)
                && (0..self.columns().len()).all(|column| one.column(column) == other.column(column))
        };
        self.columns() == other.columns()
            && self.lines().len() == other.lines().len()
            && self.lines().zip(other.lines()).all(is_same)
    }

    /// What a directory's lines become when `given` comes after `self`.
    ///
    /// A reading that names every target there was takes the place of the earlier one. One that does not (a list of
    /// failed targets, a further file) adds the lines of targets that are new, so that nothing that was asked for
    /// before is forgotten.
    #[must_use]
    pub fn followed_by(self, given: Self) -> Self {
        let named: HashSet<&str> = given.targets().map(TargetRef::as_str).collect();
        if self.targets().all(|target| named.contains(target.as_str())) {
            return given;
        }
        let known: HashSet<&str> = self.targets().map(TargetRef::as_str).collect();
        let rejected: HashSet<_> = self.lines().filter(is_rejected).map(|line| place(&line)).collect();
        Self::gathered([&self, &given].into_iter(), |reading, line| match line.fate {
            _ if reading == 0 => true,
            LineStatus::Target(target) | LineStatus::Duplicate(target) => !known.contains(target.as_str()),
            LineStatus::Rejected(_) => !rejected.contains(&place(line)),
        })
    }

    /// Shards of one reading as one again: lines by file, in the order in which the files first appear, and number.
    #[must_use]
    pub fn merged(shards: Vec<Self>) -> Self {
        let shards = match <[Self; 1]>::try_from(shards) {
            Ok([only]) => return only,
            Err(shards) => shards,
        };
        let mut files: Vec<&str> = Vec::new();
        let mut lines: Vec<(usize, u64, usize, Line<'_>)> = Vec::new();
        let mut seen = HashSet::new();
        for (shard, inputs) in shards.iter().enumerate() {
            for line in inputs.lines().filter(|line| seen.insert((place(line), line.input))) {
                let file = files.iter().position(|known| *known == line.file).unwrap_or_else(|| {
                    files.push(line.file);
                    files.len() - 1
                });
                lines.push((file, line.number, shard, line));
            }
        }
        lines.sort_by_key(|(file, number, shard, _)| (*file, *number, *shard));
        let mut gathering = Gathering::new(shards.iter());
        for (_, _, shard, line) in &lines {
            gathering.push(*shard, line);
        }
        gathering.finish()
    }

    /// The lines of several readings, one reading after the other, as far as they are wanted.
    fn gathered<'a>(
        readings: impl Iterator<Item = &'a Self> + Clone,
        wanted: impl Fn(usize, &Line<'a>) -> bool,
    ) -> Self {
        let mut gathering = Gathering::new(readings.clone());
        for (reading, inputs) in readings.enumerate() {
            inputs.lines().filter(|line| wanted(reading, line)).for_each(|line| gathering.push(reading, &line));
        }
        gathering.finish()
    }
}

fn is_rejected(line: &Line<'_>) -> bool {
    matches!(line.fate, LineStatus::Rejected(_))
}

fn place<'a>(line: &Line<'a>) -> (&'a str, u64) {
    (line.file, line.number)
}

/// Lines of several readings on their way into one, whose columns are those of all.
struct Gathering {
    builder: InputsBuilder,
    columns: Vec<String>,
    /// For each reading and each of its columns the index among all.
    places: Vec<Vec<usize>>,
}

impl Gathering {
    fn new<'a>(readings: impl Iterator<Item = &'a Inputs>) -> Self {
        let mut columns: Vec<String> = Vec::new();
        let place_of = |name: &String, columns: &mut Vec<String>| {
            let known = columns.iter().position(|column| column.to_lowercase() == name.to_lowercase());
            known.unwrap_or_else(|| {
                columns.push(name.clone());
                columns.len() - 1
            })
        };
        let places =
            readings.map(|inputs| inputs.columns().iter().map(|name| place_of(name, &mut columns)).collect()).collect();
        Self { builder: InputsBuilder::new(), columns, places }
    }

    fn push(&mut self, reading: usize, line: &Line<'_>) {
        let places = self.places[reading].iter().enumerate();
        let cells: Vec<(usize, &str)> =
            places.filter_map(|(own, place)| line.column(own).map(|cell| (*place, cell))).collect();
        let fate = match line.fate {
            LineStatus::Target(target) | LineStatus::Duplicate(target) => RawLineStatus::Target(target),
            LineStatus::Rejected(reason) => RawLineStatus::Rejected(reason),
        };
        self.builder.push(RawLine { input: line.input, file: line.file, number: line.number, fate, columns: &cells });
    }

    fn finish(mut self) -> Inputs {
        self.builder.set_columns(self.columns);
        self.builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Accept, clean};

    fn reading(file: &str, columns: &[&str], lines: &[(u64, &str)]) -> Inputs {
        let mut builder = InputsBuilder::new();
        builder.set_columns(columns.iter().map(|name| (*name).to_owned()).collect());
        for (number, input) in lines {
            let cleaned = clean(input, Accept::DOMAINS);
            let fate = match &cleaned {
                Ok(cleaned) => RawLineStatus::Target(cleaned.target.view()),
                Err(_) => RawLineStatus::Rejected("no domain"),
            };
            let cells: Vec<_> = (0..columns.len()).map(|column| (column, *input)).collect();
            builder.push(RawLine { input, file, number: *number, fate, columns: &cells });
        }
        builder.finish()
    }

    fn shown(inputs: &Inputs) -> Vec<String> {
        inputs.lines().map(|line| format!("{}:{} {}", line.file, line.number, line.input)).collect()
    }

    #[test]
    fn a_fuller_reading_replaces_and_a_partial_one_adds() {
        let first = || reading("a.csv", &["client"], &[(2, "a.com"), (3, "nonsense"), (4, "b.com")]);
        let fuller = reading("b.csv", &[], &[(1, "c.com"), (2, "b.com"), (3, "a.com")]);
        assert_eq!(shown(&first().followed_by(fuller)), ["b.csv:1 c.com", "b.csv:2 b.com", "b.csv:3 a.com"]);

        let partial = reading("_failures.csv", &["Reason", "CLIENT"], &[(2, "b.com"), (3, "d.com"), (4, "nothing")]);
        let both = first().followed_by(partial);
        assert_eq!(
            shown(&both),
            ["a.csv:2 a.com", "a.csv:3 nonsense", "a.csv:4 b.com", "_failures.csv:3 d.com", "_failures.csv:4 nothing"]
        );
        assert_eq!(both.columns(), ["client", "Reason"]);
        let last = both.lines().nth(3).expect("a line");
        assert_eq!((last.column(0), last.column(1)), (Some("d.com"), Some("d.com")));
    }

    #[test]
    fn the_same_lines_of_a_file_in_another_folder_are_the_same_input() {
        let reading = |file: &str| reading(file, &["client"], &[(2, "a.com"), (3, "nonsense"), (4, "b.com")]);
        let check = |file: &str, expected: bool| {
            assert_eq!(reading("a.csv").is_same_but_for_folders(&reading(file)), expected, "{file}");
        };
        check("a.csv", true);
        check("../lists/a.csv", true);
        check("/data/a.csv", true);
        check("b.csv", false);
        check("lists/b.csv", false);
        let other = |columns: &[&str], lines: &[(u64, &str)]| {
            assert!(!reading("a.csv").is_same_but_for_folders(&self::reading("a.csv", columns, lines)), "{lines:?}");
        };
        other(&["client"], &[(2, "a.com"), (3, "nonsense")]);
        other(&["client"], &[(2, "a.com"), (3, "nonsense"), (4, "c.com")]);
        other(&["client"], &[(2, "a.com"), (3, "nonsense"), (5, "b.com")]);
        other(&["customer"], &[(2, "a.com"), (3, "nonsense"), (4, "b.com")]);
    }

    #[test]
    fn shares_hold_every_line_once_and_become_the_whole_again() {
        let lines: Vec<(u64, String)> = (1..400)
            .map(|number| {
                (number, if number % 9 == 0 { format!("x{number}") } else { format!("s{}.com", number % 250) })
            })
            .collect();
        let lines: Vec<(u64, &str)> = lines.iter().map(|(number, input)| (*number, input.as_str())).collect();
        let whole = reading("a.txt", &["client"], &lines);
        let share = |wanted: usize| whole.share(|name| name.len() % 3 == wanted);
        let shards = [share(0), share(1), share(2)];
        assert_eq!(shards.iter().map(|shard| shard.counts().lines).sum::<usize>(), whole.counts().lines);
        let merged = Inputs::merged(shards.into());
        assert_eq!(shown(&merged), shown(&whole));
        assert_eq!(merged.counts(), whole.counts());
    }
}
