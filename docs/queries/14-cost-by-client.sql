-- What did each client's domains cost? Every column of a CSV input is in targets as input_…: here it is `client`.
-- If several lines name a target, its cost is on the first of them.
SELECT input_client AS client, count(*) AS lines, round(sum(cost_usd), 6) AS usd, sum(rows) AS history_rows
FROM targets
GROUP BY input_client
ORDER BY usd DESC NULLS LAST, client NULLS LAST;
