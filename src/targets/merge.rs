//! Combines several inputs: more lines for an existing run, or shards into one dataset. Lines keep their status;
//! nothing is checked again.

use std::collections::HashSet;

use super::{InputLine, Inputs, InputsBuilder, RawLine, TargetRef, merged_columns::AllColumns};

impl Inputs {
    /// Keeps the lines for which `is_in_shard` is true. It gets the target, or the text of a rejected line, so that
    /// every line is in exactly one shard.
    #[must_use]
    pub fn shard(&self, is_in_shard: impl Fn(&str) -> bool) -> Self {
        let belongs = |line: &InputLine<'_>| is_in_shard(line.status.target().map_or(line.input, TargetRef::as_str));
        Self::filtered(&[self], |_, line| belongs(line)).with_remarks_of(self)
    }

    /// Whether `other` has the same lines from files of the same names in any folders: the same input by another path.
    pub fn is_same_but_for_folders(&self, other: &Self) -> bool {
        fn name(file: &str) -> Option<&str> {
            file.rsplit('/').next()
        }
        let is_same = |(one, other): (InputLine<'_>, InputLine<'_>)| {
            (one.number, one.input, one.status) == (other.number, other.input, other.status)
                && name(one.file) == name(other.file)
                && (0..self.columns().len()).all(|column| one.column(column) == other.column(column))
        };
        self.columns() == other.columns()
            && self.lines().len() == other.lines().len()
            && self.lines().zip(other.lines()).all(is_same)
    }

    /// Combines the stored lines of a directory (`self`) with those of a new run (`given`). If `given` has every target
    /// of `self`, the result is `given`. Otherwise (a list of failed targets, a further file) the lines of its new
    /// targets and its new rejected lines are added to `self`, so that no earlier target is lost.
    #[must_use]
    pub fn updated_with(self, given: Self) -> Self {
        let named: HashSet<&str> = given.targets().map(TargetRef::as_str).collect();
        if self.targets().all(|target| named.contains(target.as_str())) {
            return given;
        }
        let known: HashSet<&str> = self.targets().map(TargetRef::as_str).collect();
        let rejected = self.lines().filter(|line| line.status.target().is_none());
        let rejected: HashSet<_> = rejected.map(|line| (position(&line), line.input)).collect();
        Self::filtered(&[&self, &given], |index, line| match line.status.target() {
            _ if index == 0 => true,
            Some(target) => !known.contains(target.as_str()),
            None => !rejected.contains(&(position(line), line.input)),
        })
    }

    /// Merges shards of one input: lines by file, in order of first appearance, and number.
    #[must_use]
    pub fn merged(shards: Vec<Self>) -> Self {
        let shards = match <[Self; 1]>::try_from(shards) {
            Ok([only]) => return only,
            Err(shards) => shards,
        };
        let mut files: Vec<&str> = Vec::new();
        let mut lines: Vec<(usize, u64, usize, InputLine<'_>)> = Vec::new();
        let mut seen = HashSet::new();
        for (shard, inputs) in shards.iter().enumerate() {
            for line in inputs.lines().filter(|line| seen.insert((position(line), line.input))) {
                let file = files.iter().position(|known| *known == line.file).unwrap_or_else(|| {
                    files.push(line.file);
                    files.len() - 1
                });
                lines.push((file, line.number, shard, line));
            }
        }
        lines.sort_by_key(|(file, number, shard, _)| (*file, *number, *shard));
        let mut merger = Merger::new(&shards.iter().collect::<Vec<_>>());
        for (_, _, shard, line) in &lines {
            merger.push(*shard, line);
        }
        merger.finish()
    }

    /// The wanted lines of several inputs, one after the other.
    fn filtered<'a>(all: &[&'a Self], wanted: impl Fn(usize, &InputLine<'a>) -> bool) -> Self {
        let mut merger = Merger::new(all);
        for (index, inputs) in all.iter().enumerate() {
            inputs.lines().filter(|line| wanted(index, line)).for_each(|line| merger.push(index, &line));
        }
        merger.finish()
    }
}

fn position<'a>(line: &InputLine<'a>) -> (&'a str, u64) {
    (line.file, line.number)
}

/// Builds one input of several, with the columns of all.
struct Merger {
    builder: InputsBuilder,
    columns: AllColumns,
    /// The index in `columns` of each column of each input.
    indices: Vec<Vec<usize>>,
}

impl Merger {
    fn new(all: &[&Inputs]) -> Self {
        let mut columns = AllColumns::default();
        let mut indices_of = |inputs: &&Inputs| inputs.columns().iter().map(|name| columns.index_of(name)).collect();
        let indices = all.iter().map(&mut indices_of).collect();
        Self { builder: InputsBuilder::new(), columns, indices }
    }

    fn push(&mut self, inputs: usize, line: &InputLine<'_>) {
        let columns = self.indices[inputs].iter().enumerate();
        let cells: Vec<(usize, &str)> =
            columns.filter_map(|(own, index)| line.column(own).map(|cell| (*index, cell))).collect();
        let InputLine { input, file, number, status, .. } = *line;
        self.builder.push(RawLine { input, file, number, status, columns: &cells });
    }

    fn finish(mut self) -> Inputs {
        self.builder.set_columns(self.columns.into_names());
        self.builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::{Accept, LineStatus, clean};

    fn reading(file: &str, columns: &[&str], lines: &[(u64, &str)]) -> Inputs {
        let mut builder = InputsBuilder::new();
        builder.set_columns(columns.iter().map(|name| (*name).to_owned()).collect());
        for (number, input) in lines {
            let cleaned = clean(input, Accept::DOMAINS);
            let status = match &cleaned {
                Ok(cleaned) => LineStatus::Target(cleaned.target.view()),
                Err(_) => LineStatus::Rejected("no domain"),
            };
            let cells: Vec<_> = (0..columns.len()).map(|column| (column, *input)).collect();
            builder.push(RawLine { input, file, number: *number, status, columns: &cells });
        }
        builder.finish()
    }

    fn shown(inputs: &Inputs) -> Vec<String> {
        inputs.lines().map(|line| format!("{}:{} {}", line.file, line.number, line.input)).collect()
    }

    #[test]
    fn a_complete_list_replaces_and_a_partial_one_adds() {
        let first = || reading("a.csv", &["client"], &[(2, "a.com"), (3, "nonsense"), (4, "b.com")]);
        let fuller = reading("b.csv", &[], &[(1, "c.com"), (2, "b.com"), (3, "a.com")]);
        assert_eq!(shown(&first().updated_with(fuller)), ["b.csv:1 c.com", "b.csv:2 b.com", "b.csv:3 a.com"]);

        let partial = reading("_failures.csv", &["Reason", "CLIENT"], &[(2, "b.com"), (3, "d.com"), (4, "nothing")]);
        let both = first().updated_with(partial);
        assert_eq!(
            shown(&both),
            ["a.csv:2 a.com", "a.csv:3 nonsense", "a.csv:4 b.com", "_failures.csv:3 d.com", "_failures.csv:4 nothing"]
        );
        assert_eq!(both.columns(), ["client", "Reason"]);
        let last = both.lines().nth(3).expect("a line");
        assert_eq!((last.column(0), last.column(1)), (Some("d.com"), Some("d.com")));

        let edited = reading("a.csv", &["client"], &[(2, "b.com"), (3, "rubbish")]);
        assert_eq!(
            shown(&first().updated_with(edited)),
            ["a.csv:2 a.com", "a.csv:3 nonsense", "a.csv:4 b.com", "a.csv:3 rubbish"]
        );
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
    fn shards_have_every_line_once_and_merge_into_the_whole() {
        let lines: Vec<(u64, String)> = (1..400)
            .map(|number| {
                (number, if number % 9 == 0 { format!("x{number}") } else { format!("s{}.com", number % 250) })
            })
            .collect();
        let lines: Vec<(u64, &str)> = lines.iter().map(|(number, input)| (*number, input.as_str())).collect();
        let whole = reading("a.txt", &["client"], &lines);
        let shard = |wanted: usize| whole.shard(|name| name.len() % 3 == wanted);
        let shards = [shard(0), shard(1), shard(2)];
        assert_eq!(shards.iter().map(|shard| shard.counts().lines).sum::<usize>(), whole.counts().lines);
        let merged = Inputs::merged(shards.into());
        assert_eq!(shown(&merged), shown(&whole));
        assert_eq!(merged.counts(), whole.counts());
    }
}
