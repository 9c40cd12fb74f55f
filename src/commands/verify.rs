//! `verify`: whether input, ledger, Parquet and cost of a directory agree. Changes nothing.

use std::fmt::Write as _;

use super::{Context, Failure, exit, print};
use crate::{
    cli::{Format, VerifyArgs},
    humanize, sanitize,
    verify::{Advice, Verified, verify as reconcile},
};

pub(super) fn verify(arguments: &VerifyArgs, context: &Context) -> Result<u8, Failure> {
    let verified =
        reconcile(&arguments.dir).map_err(|error| Failure { hint: error.hint(), ..Failure::unexpected(error) })?;
    let text = match arguments.format {
        Format::Json => json(&verified)?,
        Format::Text => text(&verified, &arguments.dir.display().to_string()),
    };
    print(&text)?;
    if verified.ok {
        return Ok(exit::SUCCESS);
    }
    let count = verified.differences.len() as u64 + verified.more_differences;
    let error = format!(
        "{} found: input, ledger, Parquet and cost do not agree",
        humanize::counted(count, "difference", "differences")
    );
    let hint = match verified.advice {
        Some(Advice::Permissions) => "run as a user who can read the named files",
        Some(Advice::Upgrade) => "upgrade backlinks-export and verify again",
        Some(Advice::Publish) => "run `backlinks-export run …` on this directory again: it resumes, and publishes",
        Some(Advice::OtherDirectory) => "use a directory that was the --out of a run or a replay",
        Some(Advice::RestoreLedger) => {
            "restore intact copies of the named ledger files; if they have only grown, run \
             `backlinks-export run …` on this directory again"
        }
        Some(Advice::Rebuild) | None => {
            "move the named files away and run `backlinks-export run …` on this directory again (or the replay that \
             built it) to rebuild them from the ledger"
        }
    };
    context.complain(&error, Some(hint));
    Ok(exit::ERROR)
}

fn json(verified: &Verified) -> Result<String, Failure> {
    let mut value = serde_json::to_value(verified).map_err(Failure::unexpected)?;
    value["checked"]["cost_usd"] = verified.checked.cost.dollars().into();
    Ok(format!("{value:#}\n"))
}

fn text(verified: &Verified, dir: &str) -> String {
    let checked = &verified.checked;
    let done = if verified.ok { "verified" } else { "checked" };
    let mut text = format!("{done}  {}\n\n", sanitize::plain(dir));
    let mut row = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    row("lines", humanize::count(checked.lines));
    row(
        "answers",
        format!("{} ({} of ledger)", humanize::count(checked.answers), humanize::bytes(checked.ledger_bytes)),
    );
    row("rows", humanize::count(checked.rows));
    row("files", format!("{} ({})", humanize::count(checked.files), humanize::bytes(checked.bytes)));
    row("calls", humanize::count(checked.calls));
    row("cost", humanize::money(checked.cost));
    verified.notes.iter().for_each(|note| row("note", sanitize::plain(note).into_owned()));
    for difference in &verified.differences {
        let _ = writeln!(text, "\n{}\n    {}", sanitize::plain(&difference.file), sanitize::plain(&difference.what));
    }
    if verified.more_differences > 0 {
        let _ =
            writeln!(text, "\nand {} more", humanize::counted(verified.more_differences, "difference", "differences"));
    }
    text.push_str(if verified.ok { "\ninput, ledger, Parquet and cost agree\n" } else { "" });
    text
}
