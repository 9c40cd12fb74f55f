//! Which answers are bought once more, and which need not be bought because an earlier run has them.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::values;

/// Which answers there are already, and how old they may be.
#[derive(Debug, Args)]
pub struct ReuseArgs {
    /// Buy answers anew that are older: 30d, 2w, 12h [default: never]
    ///
    /// The calls then ask up to today, unless --date-to says otherwise. An older answer stays in force until the newer
    /// one is there. Run the same command again to go on: what was bought meanwhile is new enough.
    #[arg(long, value_name = "DURATION", value_parser = values::age, help_heading = "Question")]
    pub max_age: Option<Duration>,
    /// Take over what an earlier run in DIR holds instead of buying it; repeatable
    ///
    /// Only answers that are final, no older than --max-age and asked with the same --date-from and --rank-scale. They
    /// cost nothing and do not count under --max-cost. The earlier DIR is only read.
    #[arg(long, value_name = "DIR", help_heading = "Question", hide_short_help = true)]
    pub previous: Vec<PathBuf>,
}
