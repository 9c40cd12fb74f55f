//! Generates a plausible backlinks history for any host from its name.
//!
//! Each host has a size, a trend, a season, and sometimes a shock. Each month follows from the previous one, so that
//! gains and losses explain the totals and no month depends on the requested range. The irregularities of the real API
//! occur, too: hosts without data, missing months, months dated in the future, items in descending order.
//! [`super::item`] writes the months as JSON.

use jiff::civil::{Date, date};

use super::random::Random;

/// The first month.
const FIRST: Date = date(2019, 1, 1);
/// Before this month the API reports 0 new and 0 lost links.
const FLOWS_KNOWN: Date = date(2021, 5, 1);
/// The months that may have shocks and gaps: ten years.
const HORIZON: usize = 120;
/// The share of hosts without data.
const UNKNOWN_HOSTS: f64 = 0.04;
/// The answers about hosts without data; the first is by far the most usual.
const NO_DATA: [NoData; 9] = [
    NoData::NoResult,
    NoData::NoResult,
    NoData::NoResult,
    NoData::NoResults,
    NoData::NullResult,
    NoData::NullItems,
    NoData::NoItems,
    NoData::Code40102,
    NoData::Code40501,
];

/// The ways in which the API reports that it has no data; all are billed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoData {
    /// `"result": null`
    NoResult,
    /// `"result": []`
    NoResults,
    /// `"result": [null]`
    NullResult,
    /// `"items": null`
    NullItems,
    /// `"items": []`
    NoItems,
    /// Task status 40102.
    Code40102,
    /// Task status 40501 with the message of 40102.
    Code40501,
}

/// What makes one host's history different from another's.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    pub(super) random: Random,
    first_month: i32,
    domains: f64,
    links_per_domain: f64,
    growth: f64,
    churn: f64,
    season: f64,
    season_peak: f64,
    shocks: Vec<(i32, f64)>,
    gaps: Vec<i32>,
    ratios: Ratios,
    pub(super) days: Days,
    pub(super) descending: bool,
}

/// Ratios of counts to others.
#[derive(Clone, Copy, Debug)]
struct Ratios {
    pages: f64,
    main_domains: f64,
    ips: f64,
    subnets: f64,
    nofollow: f64,
    broken: f64,
    site_pages: f64,
    internal: f64,
    external: f64,
    reputation: f64,
}

/// The days of the month that a host's items are dated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// The first of the month, as documented.
    First,
    /// The last of the month, as users see it; the current month is then in the future.
    Last,
    /// Any day of the month, with a time.
    Stored,
}

/// One month's counts, under the API's names.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct MonthCounts {
    /// Months since the first one.
    pub(super) index: i32,
    pub(super) date: Date,
    pub(super) rank: i64,
    pub(super) backlinks: i64,
    pub(super) new_backlinks: i64,
    pub(super) lost_backlinks: i64,
    pub(super) new_referring_domains: i64,
    pub(super) lost_referring_domains: i64,
    pub(super) crawled_pages: i64,
    pub(super) internal_links_count: i64,
    pub(super) external_links_count: i64,
    pub(super) broken_backlinks: i64,
    pub(super) broken_pages: i64,
    pub(super) referring_domains: i64,
    pub(super) referring_domains_nofollow: i64,
    pub(super) referring_main_domains: i64,
    pub(super) referring_main_domains_nofollow: i64,
    pub(super) referring_ips: i64,
    pub(super) referring_subnets: i64,
    pub(super) referring_pages: i64,
    pub(super) referring_pages_nofollow: i64,
}

/// A host's history, or how the API reports that it has none.
pub(super) fn profile_of(target: &str) -> Result<Box<Profile>, NoData> {
    let mut draws = Random::new(target, &[]).part(0);
    if draws.chance(UNKNOWN_HOSTS) { Err(draws.pick(&NO_DATA)) } else { Ok(Box::new(Profile::new(target))) }
}

impl Profile {
    /// The history of a host, even if the API reports none for it.
    pub(super) fn new(target: &str) -> Self {
        let random = Random::new(target, &[]);
        let mut draws = random.part(1);
        // Most hosts are small, a few have more backlinks than 32 bits can count.
        let giant = draws.chance(0.01);
        let size = draws.unit();
        let some_months = |draws: &mut Random, max: usize| -> Vec<i32> {
            (0..=draws.below(max)).map(|_| index(draws.below(HORIZON))).collect()
        };
        let shocks = some_months(&mut draws, 3);
        let gaps = if draws.chance(0.2) { some_months(&mut draws, 3) } else { Vec::new() };
        Self {
            random,
            first_month: if draws.chance(0.08) { index(draws.below(60)) } else { 0 },
            domains: if giant { 4e6 } else { 10_f64.powf(2.0 + 3.3 * size * size) },
            links_per_domain: if giant { 900.0 } else { draws.magnitude(4.0, 40.0) },
            growth: draws.between(-0.012, 0.04),
            churn: draws.between(0.01, 0.05),
            season: draws.between(0.0, 0.4),
            season_peak: draws.between(0.0, 12.0),
            shocks: shocks
                .into_iter()
                .map(|month| (month, if draws.chance(0.5) { draws.between(1.3, 3.0) } else { draws.between(0.4, 0.8) }))
                .collect(),
            gaps,
            ratios: Ratios {
                pages: draws.between(0.7, 0.97),
                main_domains: draws.between(0.75, 0.97),
                ips: draws.between(0.5, 0.9),
                subnets: draws.between(0.5, 0.9),
                nofollow: draws.between(0.05, 0.45),
                broken: draws.between(0.002, 0.06),
                site_pages: draws.magnitude(0.5, 20.0),
                internal: draws.between(5.0, 60.0),
                external: draws.between(1.0, 15.0),
                reputation: draws.between(0.75, 1.15),
            },
            days: draws.pick(&[Days::First, Days::First, Days::Last, Days::Last, Days::Stored]),
            descending: draws.chance(0.15),
        }
    }

    /// The months in a range, in the order of the answer. The last may be dated after `to`.
    pub(super) fn months(&self, from: Date, to: Date) -> Vec<MonthCounts> {
        let last = month_of(to);
        let mut months = Vec::with_capacity(usize::try_from(last + 1).unwrap_or(0));
        let mut before = None;
        for index in self.first_month..=last {
            let month = self.next(index, before);
            before = Some(month);
            if month.date >= from && !self.gaps.contains(&index) {
                months.push(month);
            }
        }
        if self.descending {
            months.reverse();
        }
        months
    }

    /// A month, from the one before.
    fn next(&self, index: i32, before: Option<MonthCounts>) -> MonthCounts {
        let mut draws = self.random.part(u64::from(index.unsigned_abs()) + 100);
        let (domains_before, links_before) =
            before.map_or((0.0, 0.0), |month| (float(month.referring_domains), float(month.backlinks)));
        let (new_domains, lost_domains) = match before {
            None => (whole(self.domains).max(1), 0),
            Some(_) => self.flow(index, domains_before, &mut draws),
        };
        let domains = (whole(domains_before) + new_domains - lost_domains).max(1);
        let links_lost = float(lost_domains) * self.links_per_domain * draws.between(0.5, 0.9)
            + links_before * self.churn * draws.between(0.2, 0.8);
        let lost = whole(links_lost).min(whole(links_before * 0.9));
        let links_new = float(new_domains) * self.links_per_domain * draws.between(0.8, 1.2)
            + links_before * self.churn * draws.between(0.2, 0.8);
        // Every domain has at least one link; half as many more leave room for counts that are parts of the links.
        let new = whole(links_new).max(domains + domains / 2 - (whole(links_before) - lost));
        let mut month = MonthCounts {
            index,
            date: self.dated(index, &mut draws),
            backlinks: whole(links_before) + new - lost,
            new_backlinks: new,
            lost_backlinks: lost,
            referring_domains: domains,
            new_referring_domains: new_domains,
            lost_referring_domains: lost_domains,
            ..MonthCounts::default()
        };
        self.derive(&mut month, &mut draws);
        if index < month_of(FLOWS_KNOWN) {
            (month.new_backlinks, month.lost_backlinks) = (0, 0);
            (month.new_referring_domains, month.lost_referring_domains) = (0, 0);
        }
        month
    }

    /// New and lost domains of a month.
    fn flow(&self, index: i32, domains: f64, draws: &mut Random) -> (i64, i64) {
        let season = 1.0 + self.season * ((f64::from(index) - self.season_peak) / 12.0 * std::f64::consts::TAU).cos();
        // Trends weaken over time.
        let growth = self.growth * 0.985_f64.powi(index);
        let mut new = domains * (self.churn + growth.max(0.0)) * season * draws.between(0.8, 1.2);
        let mut lost = domains * (self.churn - growth.min(0.0)) * (2.0 - season) * draws.between(0.8, 1.2);
        for (_, factor) in self.shocks.iter().filter(|(month, _)| *month == index) {
            new += domains * (factor - 1.0).max(0.0);
            lost += domains * (1.0 - factor).max(0.0);
        }
        (whole(new), whole(lost.min(domains * 0.9)))
    }

    /// Fills in the counts that are derived from others.
    fn derive(&self, month: &mut MonthCounts, draws: &mut Random) {
        let ratios = self.ratios;
        let mut part = |of: i64, share: f64| whole(float(of) * (share * draws.between(0.97, 1.03)).min(1.0)).min(of);
        let domains = month.referring_domains;
        month.referring_domains_nofollow = part(domains, ratios.nofollow);
        month.referring_main_domains = part(domains, ratios.main_domains).max(1);
        month.referring_main_domains_nofollow =
            part(month.referring_domains_nofollow, ratios.main_domains).min(month.referring_main_domains);
        month.referring_ips = part(domains, ratios.ips).max(1);
        month.referring_subnets = part(month.referring_ips, ratios.subnets).max(1);
        month.referring_pages = part(month.backlinks, ratios.pages).max(domains);
        month.referring_pages_nofollow =
            part(month.referring_pages, ratios.nofollow).max(month.referring_domains_nofollow);
        month.broken_backlinks = part(month.backlinks, ratios.broken);
        month.broken_pages = part(month.broken_backlinks, 0.2);
        month.crawled_pages =
            whole(float(domains).sqrt() * 20.0 * ratios.site_pages * draws.between(0.95, 1.05)).max(1);
        month.internal_links_count = whole(float(month.crawled_pages) * ratios.internal);
        month.external_links_count = whole(float(month.crawled_pages) * ratios.external);
        let rank = float(domains).ln() / 16.0 * 900.0 * ratios.reputation + draws.between(-3.0, 3.0);
        month.rank = whole(rank.clamp(0.0, 1000.0));
    }

    fn dated(&self, index: i32, draws: &mut Random) -> Date {
        let year = i16::try_from(i32::from(FIRST.year()) + index / 12).unwrap_or(FIRST.year());
        let first = date(year, i8::try_from(index % 12 + 1).unwrap_or(1), 1);
        match self.days {
            Days::First => first,
            Days::Last => first.last_of_month(),
            Days::Stored => first.with().day(i8::try_from(draws.below(28)).unwrap_or(0) + 1).build().unwrap_or(first),
        }
    }
}

/// Months since the first one.
pub(super) fn month_of(date: Date) -> i32 {
    (i32::from(date.year()) - i32::from(FIRST.year())) * 12 + i32::from(date.month()) - 1
}

fn index(month: usize) -> i32 {
    i32::try_from(month).unwrap_or(0)
}

#[expect(clippy::cast_possible_truncation, reason = "counts stay far below 2^53")]
pub(super) fn whole(count: f64) -> i64 {
    count.round() as i64
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(super) fn float(count: i64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Date = date(2026, 11, 24);

    fn hosts() -> impl Iterator<Item = String> {
        (0..3000).map(|n| format!("site{n}.com"))
    }

    fn profiles() -> impl Iterator<Item = (String, Box<Profile>)> {
        hosts().filter_map(|host| Some((host.clone(), profile_of(&host).ok()?)))
    }

    fn ascending(profile: &Profile, from: Date, to: Date) -> Vec<MonthCounts> {
        let mut months = profile.months(from, to);
        months.sort_by_key(|month| month.index);
        months
    }

    #[test]
    fn a_host_has_the_same_history_every_time_and_in_every_range() {
        for (host, profile) in profiles().take(50) {
            let whole = profile.months(FIRST, TO);
            let again = profile_of(&host).expect("it had a history a moment ago");
            assert_eq!(whole, again.months(FIRST, TO), "{host}");
            let (from, to) = (date(2022, 3, 1), date(2023, 2, 15));
            let expected: Vec<MonthCounts> =
                whole.into_iter().filter(|month| month.date >= from && month.index <= month_of(to)).collect();
            assert_eq!(profile.months(from, to), expected, "{host}");
        }
    }

    #[test]
    fn parts_never_exceed_what_they_are_part_of() {
        for (host, profile) in profiles().take(1000) {
            for m in profile.months(FIRST, TO) {
                let at = format!("{host} {}", m.date);
                assert!(m.referring_domains >= 1 && m.referring_domains <= m.backlinks, "{at}: domains");
                assert!(m.referring_domains <= m.referring_pages && m.referring_pages <= m.backlinks, "{at}: pages");
                assert!(m.referring_domains_nofollow <= m.referring_domains, "{at}: nofollow domains");
                assert!(m.referring_main_domains <= m.referring_domains, "{at}: main domains");
                assert!(m.referring_main_domains_nofollow <= m.referring_main_domains, "{at}: nofollow main domains");
                assert!(
                    m.referring_main_domains_nofollow <= m.referring_domains_nofollow,
                    "{at}: nofollow main domains"
                );
                assert!(m.referring_pages_nofollow <= m.referring_pages, "{at}: nofollow pages");
                assert!(
                    m.referring_subnets <= m.referring_ips && m.referring_ips <= m.referring_domains,
                    "{at}: addresses"
                );
                assert!(m.broken_pages <= m.broken_backlinks && m.broken_backlinks <= m.backlinks, "{at}: broken");
                assert!((0..=1000).contains(&m.rank), "{at}: rank {}", m.rank);
                assert!(m.crawled_pages >= 1 && m.internal_links_count >= m.crawled_pages, "{at}: crawled");
            }
        }
    }

    #[test]
    fn gains_and_losses_explain_the_totals() {
        for (host, profile) in profiles().take(300) {
            for pair in ascending(&profile, FIRST, TO).windows(2) {
                let [before, now] = pair else { unreachable!("windows of two") };
                let at = format!("{host} {}", now.date);
                if now.index < month_of(FLOWS_KNOWN) {
                    assert_eq!([now.new_backlinks, now.lost_backlinks], [0, 0], "{at}");
                    assert_eq!([now.new_referring_domains, now.lost_referring_domains], [0, 0], "{at}");
                } else if now.index == before.index + 1 {
                    let domains = before.referring_domains + now.new_referring_domains - now.lost_referring_domains;
                    assert_eq!(domains.max(1), now.referring_domains, "{at}");
                    assert_eq!(before.backlinks + now.new_backlinks - now.lost_backlinks, now.backlinks, "{at}");
                    assert!(now.lost_backlinks <= before.backlinks && now.lost_backlinks >= 0, "{at}");
                    assert!(now.new_backlinks >= 0 && now.new_referring_domains >= 0, "{at}");
                }
            }
        }
    }

    #[test]
    fn hosts_differ_like_real_ones() {
        let all: Vec<_> = profiles().map(|(_, profile)| (ascending(&profile, FIRST, TO), profile)).collect();
        let share = |holds: &dyn Fn(&[MonthCounts], &Profile) -> bool| {
            let count = all.iter().filter(|(months, profile)| holds(months, profile)).count();
            float(i64::try_from(count).expect("few")) / float(i64::try_from(all.len()).expect("few"))
        };
        let last = |months: &[MonthCounts]| months.last().copied().unwrap_or_default();
        let between =
            |share: f64, low: f64, high: f64| assert!((low..high).contains(&share), "{share} of {low}..{high}");
        between(share(&|months, _| last(months).backlinks > i64::from(i32::MAX)), 0.002, 0.03);
        between(share(&|months, _| last(months).referring_domains < 1000), 0.2, 0.6);
        between(share(&|months, _| months.len() == 95), 0.6, 0.9);
        between(share(&|months, _| last(months).date > TO), 0.2, 0.6);
        between(share(&|_, profile| profile.descending), 0.1, 0.2);
        between(share(&|months, _| last(months).referring_domains > months[0].referring_domains), 0.5, 0.95);
        let known = float(i64::try_from(all.len()).expect("few")) / float(i64::try_from(hosts().count()).expect("few"));
        between(1.0 - known, 0.03, 0.05);
    }

    #[test]
    fn each_way_of_having_no_data_occurs() {
        let ways: Vec<NoData> = hosts().filter_map(|host| profile_of(&host).err()).collect();
        for way in NO_DATA {
            assert!(ways.contains(&way), "{way:?}");
        }
    }
}
