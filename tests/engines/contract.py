"""The public columns, written down a second time: what readers of the data rely on. Never derived from the program."""

INTEGERS = [
    "rank",
    "backlinks",
    "new_backlinks",
    "lost_backlinks",
    "new_referring_domains",
    "lost_referring_domains",
    "crawled_pages",
    "internal_links_count",
    "external_links_count",
    "broken_backlinks",
    "broken_pages",
    "referring_domains",
    "referring_domains_nofollow",
    "referring_main_domains",
    "referring_main_domains_nofollow",
    "referring_ips",
    "referring_subnets",
    "referring_pages",
    "referring_pages_nofollow",
]
ALL_INTEGERS = [*INTEGERS, "info_target_spam_score"]
INFO_TEXTS = ["info_server", "info_cms", "info_country", "info_ip_address"]
MAPS = [
    "referring_links_tld",
    "referring_links_types",
    "referring_links_attributes",
    "referring_links_platform_types",
    "referring_links_semantic_locations",
    "referring_links_countries",
]

HISTORY = {
    "target": "string",
    "type": "string",
    "date": "timestamp",
    "month_start": "date",
    **dict.fromkeys(INTEGERS, "bigint"),
    **dict.fromkeys(INFO_TEXTS, "string"),
    "info_is_ip": "boolean",
    "info_platform_type": "array<string>",
    "info_target_spam_score": "bigint",
    **dict.fromkeys(MAPS, "map<string,bigint>"),
}

TARGETS = {
    "run_id": "string",
    "input": "string",
    "target": "string",
    "outcome": "string",
    "rows": "bigint",
    "cost_usd": "double",
    "cost_source": "string",
    "attempts": "bigint",
    "possibly_billed": "bigint",
    "http_status": "bigint",
    "api_status_code": "bigint",
    "message": "string",
    "task_id": "string",
    "items_count": "bigint",
    "api_version": "string",
    "api_seconds": "double",
    "latency_ms": "bigint",
    "fetched_at": "timestamp",
    "date_from": "date",
    "date_to": "date",
    "rank_scale": "string",
    "source": "string",
}

# Spark's names of types on the left, DuckDB's on the right
DUCKDB = {
    "string": "VARCHAR",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "array<string>": "VARCHAR[]",
    "map<string,bigint>": "MAP(VARCHAR, BIGINT)",
}

OUTCOMES = ["ok", "no_data", "failed", "pending", "rejected", "duplicate"]


def in_duckdb(columns):
    return [(name, DUCKDB[kind]) for name, kind in columns.items()]


def in_spark(columns):
    return list(columns.items())
