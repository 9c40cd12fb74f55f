-- What did the run cost, by outcome, and per 1,000 rows?
SELECT outcome, count(*) AS lines, round(sum(cost_usd), 2) AS usd, sum(rows) AS history_rows,
       round(1000.0 * sum(cost_usd) / nullif(sum(rows), 0), 4) AS usd_per_1000_rows
FROM targets
GROUP BY outcome
ORDER BY outcome;
