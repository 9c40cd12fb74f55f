//! Flags for the API: its URL, limits on calls, and limits on cost.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{Args, ValueEnum};

use super::{rate_limits::RateArgs, values};
use crate::{api::BodyForm, money::Usd};

const API: &str = "https://api.aisa.one/apis/v1";

#[derive(Debug, Args)]
pub struct CallArgs {
    /// Base URL of the API
    #[arg(
        long,
        value_name = "URL",
        env = "BACKLINKS_API_URL",
        hide_env_values = true,
        default_value = API,
        conflicts_with = "sandbox",
        help_heading = "API"
    )]
    pub api: String,
    /// Use the built-in simulated API instead: no token needed, no cost
    #[arg(long, help_heading = "API")]
    pub sandbox: bool,
    /// File with the API token [default: from the `AISA_API_KEY` variable]
    #[arg(long, value_name = "FILE", help_heading = "API")]
    pub token_file: Option<PathBuf>,
    /// Shape of the request body
    #[arg(long, default_value = "auto", value_name = "FORM", help_heading = "API", hide_short_help = true)]
    pub body: BodyArg,
    #[command(flatten)]
    pub rates: RateArgs,
    /// Call at most N targets in this run; run again for the next ones
    #[arg(long, value_name = "N", value_parser = values::positive, help_heading = "Money")]
    pub limit: Option<NonZeroU32>,
    /// Hard cap on the total cost of DIR, calls in flight included
    #[arg(long, value_name = "USD", allow_negative_numbers = true, help_heading = "Money")]
    pub max_cost: Option<Usd>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BodyArg {
    /// Whichever the API accepts, trying the array first.
    Auto,
    /// `[{"target": …}]`
    Array,
    /// `{"target": …}`
    Object,
}

impl CallArgs {
    /// The shape of the body; `None`: whichever the API accepts.
    pub fn body_form(&self) -> Option<BodyForm> {
        match self.body {
            BodyArg::Auto => None,
            BodyArg::Array => Some(BodyForm::Array),
            BodyArg::Object => Some(BodyForm::Object),
        }
    }
}
