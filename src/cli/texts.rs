//! Text below the flags in the help: examples, exit codes and files.

pub(super) const EXAMPLES: &str = "\
Try it (simulated API, no token, no cost):
  backlinks-export run inputs/domains.txt --sandbox --out out/demo
See what it would cost, without paid calls:
  backlinks-export plan portfolio.csv
Spend at most 50 dollars; run the same command again to resume:
  backlinks-export run portfolio.csv --max-cost 50 --out out/audit
Check that input, ledger, Parquet files and cost agree:
  backlinks-export verify out/audit";

pub(super) const MORE: &str = "\
Try it (simulated API, no token, no cost):
  backlinks-export run inputs/domains.txt --sandbox --out out/demo
See what it would cost, without paid calls:
  backlinks-export plan portfolio.csv
Spend at most 50 dollars; run the same command again to resume:
  backlinks-export run portfolio.csv --max-cost 50 --out out/audit

Each command has its own help: backlinks-export run --help";

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  backlinks-export run inputs/domains.txt --sandbox --out out/demo
  backlinks-export run portfolio.csv --max-cost 50 --out out/audit
All flags, exit codes and files: backlinks-export run --help";

pub(super) const RUN_MORE: &str = "\
Examples:
  backlinks-export run inputs/domains.txt --sandbox --out out/demo
  backlinks-export run portfolio.csv --column website --max-cost 50 --out out/audit
  zcat domains.gz | backlinks-export run - --date-from 2024-01-01 --out out/recent
  backlinks-export run domains.txt --shard 2/4 --summary json --out out/shard-2
  backlinks-export run portfolio.csv --max-age 4w --out out/audit
  backlinks-export run portfolio.csv --previous out/2026-10 --out out/2026-11

Exit codes:
  0    every target has data or is known to have none
  1    an unexpected error: disk full, DIR in use; run again to resume
  2    invalid flags or inputs; no calls were made
  3    finished, but more targets failed or could not be refreshed than --max-failures allows
  4    stopped by the API: token refused, no credit, account blocked, wrong URL, long outage
  5    stopped by --max-cost or --limit
  130  stopped by SIGINT (Ctrl-C); 143 by SIGTERM. A second signal exits immediately
  All paid answers are saved: run the same command again to resume.

Files in DIR:
  backlinks_history/   Parquet, one row per target and month
  targets/             Parquet, one row per input line
  _raw/                every answer as received, from which the tables are built
  _failures.csv        targets that failed or could not be refreshed; use as INPUT to retry
  _rejected.csv        input lines that are not valid domains
  _run.json            parameters, counts, cost and a digest of every file
  _SUCCESS             present only when everything is done";

pub(super) const PLAN_EXAMPLES: &str = "\
Also accepts the other flags of `run`, so that the same command line works for both.

Examples:
  backlinks-export plan portfolio.csv
  backlinks-export plan portfolio.csv --out out/audit --format json";

pub(super) const DOCTOR_EXAMPLES: &str = "\
Also accepts the other flags of `run`, so that the same command line works for both.
Exits with 0 if no check failed, else with 1.

Examples:
  backlinks-export doctor --out out/audit
  backlinks-export doctor portfolio.csv --max-cost 50 --out out/audit --format json";

pub(super) const REPLAY_EXAMPLES: &str = "\
Examples:
  backlinks-export replay out/shard-1 out/shard-2 --out out/all
  backlinks-export replay out/audit --partition-by year,month --compression zstd:9 --out out/small
  backlinks-export replay out/2026-10 out/2026-11 --partition-by run_date,year --out out/snapshots";

pub(super) const SANDBOX_EXAMPLES: &str = "\
Example, in two terminals:
  backlinks-export sandbox --listen 127.0.0.1:8080 --fail-503 0.05 --rate-limit 600/min
  AISA_API_KEY=any backlinks-export run domains.txt --api http://127.0.0.1:8080/apis/v1 --out out/try
The bill is at http://127.0.0.1:8080/bill";
