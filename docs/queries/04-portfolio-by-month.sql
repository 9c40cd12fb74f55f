-- How does the whole portfolio develop, month by month? Each target counts as of its latest date in the month.
-- The sums cover the targets that have the month (column targets): if a large one lacks it, they fall without a loss.
WITH dated AS (
  SELECT month_start AS month, backlinks, referring_domains,
         row_number() OVER (PARTITION BY target, month_start ORDER BY date DESC) AS nth
  FROM backlinks_history)
SELECT month, count(*) AS targets, sum(backlinks) AS backlinks, sum(referring_domains) AS referring_domains
FROM dated
WHERE nth = 1
GROUP BY month
ORDER BY month;
