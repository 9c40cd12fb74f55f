//! Finds targets below others: the API counts a subdomain's links for the domain, too.

use std::collections::HashSet;

use super::{Inputs, TargetRef};

/// Targets whose counts are included in those of another target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nested<'a> {
    pub count: u64,
    /// The first of them.
    pub inner: &'a str,
    /// The target that includes it.
    pub outer: &'a str,
}

impl Inputs {
    /// Targets below others, such as `blog.example.com` beside `example.com`, if there are any.
    pub fn nested(&self) -> Option<Nested<'_>> {
        let targets: HashSet<&str> = self.targets().map(TargetRef::as_str).collect();
        let outer_of =
            |inner: &str| inner.match_indices('.').find_map(|(dot, _)| targets.get(&inner[dot + 1..]).copied());
        let mut nested = self.targets().filter_map(|inner| Some((inner.as_str(), outer_of(inner.as_str())?)));
        let (inner, outer) = nested.next()?;
        Some(Nested { count: 1 + nested.count() as u64, inner, outer })
    }
}

#[cfg(test)]
mod tests {
    use crate::targets::{Accept, InputsBuilder, LineStatus, RawLine, clean};

    #[test]
    fn targets_below_others_are_found_among_all_levels() {
        let nested = |targets: &[&str]| {
            let mut builder = InputsBuilder::new();
            for host in targets {
                let target = clean(host, Accept::DOMAINS).expect(host).target;
                let status = LineStatus::Target(target.view());
                builder.push(RawLine { input: host, file: "a.txt", number: 1, status, columns: &[] });
            }
            let inputs = builder.finish();
            inputs.nested().map(|nested| (nested.count, nested.inner.to_owned(), nested.outer.to_owned()))
        };
        let found = |count: u64, inner: &str, outer: &str| Some((count, inner.to_owned(), outer.to_owned()));
        assert_eq!(nested(&[]), None);
        assert_eq!(nested(&["a.com", "b.com", "ba.com", "blog.c.com"]), None);
        assert_eq!(nested(&["a.b.x.com", "x.com", "y.x.com", "z.com"]), found(2, "a.b.x.com", "x.com"));
        assert_eq!(nested(&["b.x.com", "a.b.x.com"]), found(1, "a.b.x.com", "b.x.com"));
        assert_eq!(nested(&["github.io", "someone.github.io"]), found(1, "someone.github.io", "github.io"));
    }
}
