//! The columns of several inputs as one list.

use std::collections::HashMap;

/// Names of columns in order of first appearance. No two are equal when letter case is ignored.
#[derive(Debug, Default)]
pub(super) struct AllColumns {
    names: Vec<String>,
    /// By name in lower case.
    indices: HashMap<String, usize>,
}

impl AllColumns {
    /// The index of the column `name`, which is added if it is new.
    pub(super) fn index_of(&mut self, name: &str) -> usize {
        *self.indices.entry(name.to_lowercase()).or_insert_with(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    pub(super) fn into_names(self) -> Vec<String> {
        self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_same_name_are_one_over_all_files() {
        let mut columns = AllColumns::default();
        let indices = ["Client", "since", "CLIENT", "market", "since"].map(|name| columns.index_of(name));
        assert_eq!(indices, [0, 1, 0, 2, 1]);
        assert_eq!(columns.into_names(), ["Client", "since", "market"]);
    }
}
