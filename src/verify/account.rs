//! What a ledger's lines come to, told once more in plain words: where each target stands and what it cost.
//!
//! The rules are those that are documented for the ledger; the export's own index is not asked. Of each target a hundred
//! bytes are held: what a call's result says besides is read again when its row is compared.

use std::borrow::Cow;

use jiff::{Timestamp, civil::Date};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    api::{RankScale, record::Standing},
    ledger::{CostSource, Spending},
    money::Usd,
    targets::{Target, TargetRef, TargetSet},
};

/// A line of the ledger as any reader sees it: one table, in which `record` tells what a line is.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) record: Cow<'a, str>,
    pub(super) run_id: Option<String>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) date_from: Option<Date>,
    pub(super) date_to: Option<Date>,
    pub(super) rank_scale: Option<RankScale>,
    pub(super) tag: Option<String>,
    pub(super) lines: Option<usize>,
    pub(super) columns: Option<Vec<String>>,
    pub(super) sha256: Option<String>,
    pub(super) target: Option<Target>,
    at: Option<Timestamp>,
    latency_micros: Option<u64>,
    #[serde(borrow)]
    class: Option<Cow<'a, str>>,
    http_status: Option<u16>,
    api_status_code: Option<i64>,
    message: Option<String>,
    task_id: Option<String>,
    cost_micros_usd: Option<Usd>,
    cost_source: Option<CostSource>,
    reserved_micros_usd: Option<Usd>,
    from_run_id: Option<String>,
    body_bytes: Option<u64>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    body_text: Option<String>,
    body_latin1: Option<String>,
    /// The length of a body that was measured apart, since it is too large to be held.
    #[serde(skip)]
    pub(super) measured: Option<u64>,
}

impl Line<'_> {
    fn has_body(&self) -> bool {
        self.body.is_some() || self.body_text.is_some() || self.body_latin1.is_some() || self.measured.is_some()
    }

    /// An answer's body; `None`: there is none.
    pub(super) fn body(&self) -> Option<Cow<'_, str>> {
        if let Some(body) = self.body {
            return Some(Cow::Borrowed(body.get()));
        }
        if let Some(text) = &self.body_text {
            return Some(Cow::Borrowed(text));
        }
        // A character for a byte.
        let bytes: Vec<u8> = self.body_latin1.as_ref()?.chars().filter_map(|byte| u8::try_from(byte).ok()).collect();
        Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Whether the body has the length that it is said to have.
    fn is_whole(&self) -> bool {
        let said = self.body_bytes.unwrap_or_default();
        if let Some(measured) = self.measured {
            return measured == said;
        }
        match (self.body, &self.body_text, &self.body_latin1) {
            // Blanks around a body stand outside of what a reader takes for it.
            (Some(body), None, None) => body.get().len() as u64 <= said,
            (None, Some(text), None) => text.len() as u64 == said,
            (None, None, Some(text)) => text.chars().count() as u64 == said,
            (None, None, None) => said == 0,
            _ => false,
        }
    }
}

/// Where a line lies in a ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: u64,
    /// Bytes of all its frames.
    pub(super) length: u32,
    /// Bytes of the first, in which everything but a body is.
    pub(super) head: u32,
    pub(super) file: u32,
}

/// What counts of a call's result.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) place: Place,
    /// In microseconds since 1970.
    at: i64,
    /// Bytes of its body.
    pub(super) body_bytes: u64,
}

impl Last {
    fn of(line: &Line<'_>, place: Place) -> Option<Self> {
        // Without these the line says nothing of a result.
        let (at, _, _) = (line.at?, line.latency_micros?, line.class.as_ref()?);
        Some(Self { place, at: at.as_microsecond(), body_bytes: line.body_bytes.unwrap_or_default() })
    }

    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_microsecond(self.at).unwrap_or_default()
    }
}

/// What a call's result says, its body aside.
#[derive(Clone, Debug)]
pub(super) struct Details {
    pub(super) at: Timestamp,
    pub(super) latency_ms: u64,
    pub(super) class: String,
    pub(super) http_status: Option<u16>,
    pub(super) api_status_code: Option<i64>,
    pub(super) message: Option<String>,
    pub(super) task_id: Option<String>,
    /// The last day asked for, where it is not the run's.
    pub(super) date_to: Option<Date>,
    /// The run that has paid, where the answer was taken over.
    pub(super) from_run_id: Option<String>,
}

impl Details {
    pub(super) fn of(line: &Line<'_>) -> Option<Self> {
        Some(Self {
            at: line.at?,
            latency_ms: line.latency_micros? / 1000,
            class: line.class.as_deref()?.to_owned(),
            http_status: line.http_status,
            api_status_code: line.api_status_code,
            message: line.message.clone(),
            task_id: line.task_id.clone(),
            date_to: line.date_to,
            from_run_id: line.from_run_id.clone(),
        })
    }
}

/// What has come of calling a target again that has its final answer: nothing final yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Refresh {
    calls: u32,
    /// The latest result.
    pub(super) last: Option<Last>,
    pub(super) given_up: bool,
}

/// A call that went out and has no result.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// What was set aside for it.
    reserved: Option<Usd>,
}

/// One target.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) standing: Standing,
    pub(super) attempts: u32,
    pub(super) cost: Usd,
    pub(super) last: Option<Last>,
    /// A refresh that has no answer; apart, since few targets have one.
    pub(super) refresh: Option<Box<Refresh>>,
    /// Calls that may have been billed without an answer, the one under way aside.
    lost: u32,
    /// Calls among them of which nothing was recorded any more.
    interrupted: u32,
    source: Option<CostSource>,
    /// A call without a result yet.
    open: Option<Box<Open>>,
}

impl State {
    fn new() -> Self {
        Self {
            standing: Standing::Pending,
            attempts: 0,
            cost: Usd::ZERO,
            last: None,
            refresh: None,
            lost: 0,
            interrupted: 0,
            source: None,
            open: None,
        }
    }

    /// A call goes out; says whether it is the first of the target, or of a refresh.
    fn goes_out(&mut self) -> bool {
        self.attempts += 1;
        if !self.standing.is_final() {
            self.standing = Standing::Pending;
            return self.attempts == 1;
        }
        let refresh = self.refresh.get_or_insert_default();
        (refresh.calls, refresh.given_up) = (refresh.calls + 1, false);
        refresh.calls == 1
    }

    /// A call did not go out after all; says whether it had been a first one.
    fn comes_back(&mut self) -> bool {
        self.open = None;
        self.attempts = self.attempts.saturating_sub(1);
        if !self.standing.is_final() {
            return self.attempts == 0;
        }
        let calls = self.refresh.as_ref().map_or(0, |refresh| refresh.calls.saturating_sub(1));
        match &mut self.refresh {
            Some(refresh) if calls > 0 => refresh.calls = calls,
            refresh => *refresh = None,
        }
        calls == 0
    }

    /// The last final answer counts; what is none, only as long as there is no final one.
    fn settle(&mut self, class: &str, last: Last) {
        let standing = match class {
            "data" => Standing::Ok,
            "no_data" => Standing::NoData,
            _ if self.standing.is_final() => {
                self.refresh.get_or_insert_default().last = Some(last);
                return;
            }
            _ => Standing::Pending,
        };
        (self.standing, self.last) = (standing, Some(last));
        if standing.is_final() {
            self.refresh = None;
        }
    }

    pub(super) fn possibly_billed(&self) -> u32 {
        self.lost + u32::from(self.open.is_some())
    }

    pub(super) fn cost_source(&self) -> Option<CostSource> {
        if self.open.is_some() { Some(CostSource::Unknown) } else { self.source }
    }
}

/// All targets of one ledger, and what its calls came to.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) targets: TargetSet,
    /// By the target's number.
    states: Vec<State>,
    dearest_debit: Usd,
    dearest_upstream: Usd,
    set_aside: Usd,
    debited: Usd,
    upstream: Usd,
    unknown: u64,
    first_calls: u64,
    refreshed: u64,
    taken_over: u64,
    /// The last day that a final answer was asked for, where one was asked for another day than the run's.
    pub(super) asked_up_to: Option<Date>,
}

/// What a call at an untold price counts for: its reservation, else the dearest price, else twice a list price.
fn presumed(reserved: Option<Usd>, dearest: Usd) -> Usd {
    const BEFORE_ANY_PRICE: Usd = Usd::from_micros(100_000);
    reserved.unwrap_or(if dearest == Usd::ZERO { BEFORE_ANY_PRICE } else { dearest })
}

impl Accounts {
    /// What is known of a target, and its number.
    pub(super) fn get(&self, target: TargetRef<'_>) -> Option<(u32, &State)> {
        let number = self.targets.number(target)?;
        Some((number, self.state(number)))
    }

    pub(super) fn state(&self, number: u32) -> &State {
        &self.states[number as usize]
    }

    /// The dearest debit; where none was ever told, twice the dearest upstream price.
    fn dearest(&self) -> Usd {
        match self.dearest_debit {
            Usd::ZERO => self.dearest_upstream.times(2),
            debit => debit.max(self.dearest_upstream),
        }
    }

    /// Takes a line of a call in; `None`: it does not make sense.
    pub(super) fn take(&mut self, line: &Line<'_>, place: Place) -> Option<()> {
        let dearest = self.dearest();
        let (number, is_new) = self.targets.insert(line.target.as_ref()?.view());
        let number = number as usize;
        if is_new {
            self.states.push(State::new());
        }
        let state = self.states.get_mut(number)?;
        match &*line.record {
            "sent" => {
                self.first_calls += u64::from(state.goes_out());
                if let Some(earlier) = state.open.replace(Box::new(Open { reserved: line.reserved_micros_usd })) {
                    state.lost += 1;
                    state.interrupted += 1;
                    state.source = state.source.max(Some(CostSource::Unknown));
                    self.set_aside = self.set_aside.plus(presumed(earlier.reserved, dearest));
                }
            }
            "called_off" => self.first_calls = self.first_calls.saturating_sub(u64::from(state.comes_back())),
            "gave_up" if state.standing.is_final() => state.refresh.get_or_insert_default().given_up = true,
            "gave_up" => state.standing = Standing::Failed,
            "answer" => return self.answer(number, line, place),
            // Somebody else has paid for it.
            "taken_over" if line.from_run_id.is_some() => {
                self.taken_over += 1;
                state.source = state.source.max(Some(CostSource::Previous));
                return self.settle(number, line, place);
            }
            _ => return None,
        }
        Some(())
    }

    fn answer(&mut self, number: usize, line: &Line<'_>, place: Place) -> Option<()> {
        let dearest = self.dearest();
        let state = self.states.get_mut(number)?;
        let reserved = state.open.take().and_then(|call| call.reserved);
        let price = line.cost_micros_usd.unwrap_or_default();
        let class = line.class.as_deref()?;
        match line.cost_source {
            Some(CostSource::Debit) => {
                self.dearest_debit = self.dearest_debit.max(price);
                self.debited = self.debited.plus(price);
            }
            Some(CostSource::Upstream) => {
                self.dearest_upstream = self.dearest_upstream.max(price);
                self.upstream = self.upstream.plus(price);
                // The debit may be twice that, or as high as the call allowed.
                let most = price.times(2).max(reserved.unwrap_or_default());
                self.set_aside = self.set_aside.plus(most.minus(price));
            }
            Some(CostSource::Unknown) => {
                self.unknown += 1;
                self.set_aside = self.set_aside.plus(presumed(reserved, dearest));
                let is_lost = matches!(class, "maybe_billed" | "rejected") || !line.has_body();
                state.lost += u32::from(is_lost);
            }
            Some(CostSource::Previous) => return None,
            None => {}
        }
        state.cost = state.cost.plus(price);
        state.source = state.source.max(line.cost_source);
        self.refreshed += u64::from(state.standing.is_final() && matches!(class, "data" | "no_data"));
        self.settle(number, line, place)
    }

    fn settle(&mut self, number: usize, line: &Line<'_>, place: Place) -> Option<()> {
        let state = self.states.get_mut(number)?;
        state.settle(line.class.as_deref()?, Last::of(line, place)?);
        if matches!(line.class.as_deref(), Some("data" | "no_data")) {
            self.asked_up_to = self.asked_up_to.max(line.date_to);
        }
        line.is_whole().then_some(())
    }

    /// What all calls came to.
    pub(super) fn spending(&self) -> Spending {
        let states = || self.states.iter();
        let open = states().filter_map(|state| state.open.as_ref());
        let open = open.map(|call| presumed(call.reserved, self.dearest())).fold(Usd::ZERO, Usd::plus);
        let lines_lost = |state: &State| u64::from(state.interrupted) + u64::from(state.open.is_some());
        let calls: u64 = states().map(|state| u64::from(state.attempts)).sum();
        Spending {
            calls,
            retries: calls.saturating_sub(self.first_calls),
            debited: self.debited,
            upstream: self.upstream,
            set_aside: self.set_aside.plus(open),
            unknown: self.unknown + states().map(lines_lost).sum::<u64>(),
            possibly_billed: states().map(|state| u64::from(state.possibly_billed())).sum(),
            refreshed: self.refreshed,
            taken_over: self.taken_over,
        }
    }
}
