-- Which targets grew most in referring domains over the last twelve months, by the last known number at each end?
WITH ends AS (
  SELECT target,
         max_by(referring_domains, date) AS today,
         max_by(referring_domains, date) FILTER (
           WHERE month_start <= (SELECT max(month_start) FROM backlinks_history) - INTERVAL 12 MONTH) AS year_ago
  FROM backlinks_history
  WHERE referring_domains IS NOT NULL
  GROUP BY target)
SELECT target, year_ago, today, round(100.0 * (today - year_ago) / year_ago, 1) AS percent
FROM ends
WHERE year_ago > 0
ORDER BY percent DESC, target
LIMIT 20;
