//! Writes one month like the API: 28 keys, nineteen counts, the site's own data and six maps.
//!
//! It writes bytes by hand, because benchmarks need thousands of answers a second. The maps are parts of the month's
//! backlinks with at most ten entries, the largest first. Sometimes a value is null or a key is missing, as in real
//! answers.

use std::io::Write as _;

use super::{
    profile::{Days, MonthCounts, Profile, float, whole},
    random::Random,
};

/// Maximum entries of a map, as served by the API.
const MAX_MAP_ENTRIES: usize = 10;

/// Each map's name and its possible keys, separated by commas, the usual ones first. One key may be empty.
const POOLS: [(&str, &str); 6] = [
    (
        "referring_links_tld",
        "com,net,org,,co.uk,io,de,info,blogspot.com,fr,com.br,pages.dev,ru,com.au,nl,xyz,pl,it,top,co,edu,gov,jp,in",
    ),
    ("referring_links_types", "anchor,image,redirect,canonical,alternate,link,meta"),
    ("referring_links_attributes", "nofollow,noopener,noreferrer,ugc,external,sponsored,bookmark,me,alternate"),
    ("referring_links_platform_types", "unknown,cms,blogs,ecommerce,message-boards,organization,news,wikis"),
    ("referring_links_semantic_locations", ",article,section,main,footer,header,aside,nav,figure,details,figcaption"),
    ("referring_links_countries", ",US,WW,DE,GB,FR,IN,BR,NL,CA,RU,AU,PL,IT,ES,JP,IO,CO"),
];

/// How a host's items are written.
#[derive(Debug)]
pub(super) struct ItemWriter {
    random: Random,
    days: Days,
    one_hundred: bool,
    maps: Vec<Map>,
    /// The site's own data, before and after it moved.
    infos: [String; 2],
    moved: i32,
    /// How often the link attributes are null.
    no_attributes: f64,
    /// Whether the keys of new and lost domains are misspelt.
    misspelt: bool,
}

/// A map's name and each key's share of the backlinks.
#[derive(Debug)]
struct Map {
    name: &'static str,
    shares: Vec<(&'static str, f64)>,
}

impl ItemWriter {
    pub(super) fn new(profile: &Profile, one_hundred: bool) -> Self {
        let mut draws = profile.random.part(2);
        Self {
            random: profile.random,
            days: profile.days,
            one_hundred,
            maps: POOLS.iter().map(|(name, keys)| Map::draw(name, keys, &mut draws)).collect(),
            infos: [info(&mut draws), info(&mut draws)],
            moved: i32::try_from(draws.below(200)).unwrap_or(0),
            no_attributes: if draws.chance(0.25) { 0.4 } else { 0.01 },
            misspelt: draws.chance(0.02),
        }
    }

    pub(super) fn write(&self, month: &MonthCounts, out: &mut Vec<u8>) {
        let mut draws = self.random.part(u64::from(month.index.unsigned_abs()) + 10_000);
        let missing = draws.chance(0.015).then(|| draws.pick(&MAY_BE_MISSING));
        let mut below = |max: usize| if self.days == Days::Stored { draws.below(max) } else { 0 };
        let (hour, minute, second) = (below(24), below(60), below(60));
        let _ = write!(
            out,
            "{{\"type\":\"backlinks_history\",\"date\":\"{} {hour:02}:{minute:02}:{second:02} +00:00\"",
            month.date
        );
        let rank = if self.one_hundred { (month.rank + 5) / 10 } else { month.rank };
        let (new_domains, lost_domains) = if self.misspelt {
            ("new_reffering_domains", "lost_reffering_domains")
        } else {
            ("new_referring_domains", "lost_referring_domains")
        };
        let count = |name: &'static str, count: i64, out: &mut Vec<u8>| {
            if missing != Some(name) {
                member(name, out);
                integer(count, out);
            }
        };
        count("rank", rank, out);
        count("backlinks", month.backlinks, out);
        count("new_backlinks", month.new_backlinks, out);
        count("lost_backlinks", month.lost_backlinks, out);
        count(new_domains, month.new_referring_domains, out);
        count(lost_domains, month.lost_referring_domains, out);
        count("crawled_pages", month.crawled_pages, out);
        if missing != Some("info") {
            member("info", out);
            let info = if draws.chance(0.02) { "null" } else { &self.infos[usize::from(month.index >= self.moved)] };
            out.extend_from_slice(info.as_bytes());
        }
        count("internal_links_count", month.internal_links_count, out);
        count("external_links_count", month.external_links_count, out);
        count("broken_backlinks", month.broken_backlinks, out);
        count("broken_pages", month.broken_pages, out);
        count("referring_domains", month.referring_domains, out);
        count("referring_domains_nofollow", month.referring_domains_nofollow, out);
        count("referring_main_domains", month.referring_main_domains, out);
        count("referring_main_domains_nofollow", month.referring_main_domains_nofollow, out);
        count("referring_ips", month.referring_ips, out);
        count("referring_subnets", month.referring_subnets, out);
        count("referring_pages", month.referring_pages, out);
        for map in &self.maps {
            let null = map.name == "referring_links_attributes" && draws.chance(self.no_attributes);
            if missing != Some(map.name) {
                map.write(month.backlinks, null, &mut draws, out);
            }
        }
        count("referring_pages_nofollow", month.referring_pages_nofollow, out);
        out.push(b'}');
    }
}

/// Keys that are sometimes left out.
const MAY_BE_MISSING: [&str; 4] =
    ["info", "broken_pages", "referring_pages_nofollow", "referring_links_semantic_locations"];

impl Map {
    fn draw(name: &'static str, keys: &'static str, draws: &mut Random) -> Self {
        let mut keys: Vec<_> = keys.split(',').collect();
        // The first key is always the largest, and most hosts have most of the usual keys.
        for index in 1..keys.len() {
            let other = (index + draws.below(4)).min(keys.len() - 1);
            keys.swap(index, other);
        }
        keys.truncate(keys.len().min(MAX_MAP_ENTRIES) - draws.below(4));
        let mut share = 1.0;
        let mut shares: Vec<(&'static str, f64)> = Vec::with_capacity(keys.len());
        for key in keys {
            shares.push((key, share));
            // Below 0.9, so that a month's jitter never changes the order.
            share *= draws.between(0.45, 0.88);
        }
        let scale = draws.between(0.8, 0.99) / shares.iter().map(|(_, share)| share).sum::<f64>();
        for (_, share) in &mut shares {
            *share *= scale;
        }
        Self { name, shares }
    }

    fn write(&self, backlinks: i64, null: bool, draws: &mut Random, out: &mut Vec<u8>) {
        member(self.name, out);
        if null {
            out.extend_from_slice(b"null");
            return;
        }
        out.push(b'{');
        let begin = out.len();
        // One map in three hundred has an entry that is null.
        let unknown = if draws.chance(0.003) { draws.below(self.shares.len()) } else { usize::MAX };
        for (index, (key, share)) in self.shares.iter().enumerate() {
            let count = whole((float(backlinks) * share * draws.between(0.9, 1.0)).floor());
            if count == 0 {
                continue;
            }
            if out.len() > begin {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
            if index == unknown { out.extend_from_slice(b"null") } else { integer(count, out) }
        }
        out.push(b'}');
    }
}

/// A site's own data, with addresses from the ranges reserved for documentation.
fn info(draws: &mut Random) -> String {
    let server = draws.pick(&["\"nginx\"", "\"cloudflare\"", "\"Apache/2.4.57 (Debian)\"", "\"LiteSpeed\"", "null"]);
    let (cms, platforms) = draws.pick(&[
        ("null", "[\"unknown\"]"),
        ("null", "[\"unknown\"]"),
        ("\"wordpress 6.4.2\"", "[\"cms\",\"blogs\"]"),
        ("\"drupal 10\"", "[\"cms\"]"),
        ("\"shopify\"", "[\"ecommerce\",\"cms\"]"),
        ("null", "[\"organization\"]"),
        ("null", "null"),
    ]);
    let network = draws.pick(&["192.0.2", "198.51.100", "203.0.113"]);
    let (last, spam) = (draws.below(254) + 1, draws.below(61));
    let country = draws.pick(&["\"US\"", "\"DE\"", "\"GB\"", "\"FR\"", "\"NL\"", "null"]);
    format!(
        "{{\"server\":{server},\"cms\":{cms},\"platform_type\":{platforms},\"ip_address\":\"{network}.{last}\",\
         \"country\":{country},\"is_ip\":false,\"target_spam_score\":{spam}}}"
    )
}

/// `,"name":`
fn member(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn integer(count: i64, out: &mut Vec<u8>) {
    // Writing to memory cannot fail.
    let _ = write!(out, "{count}");
}
