-- For which targets does the API leave out months between the first and the last one?
WITH spans AS (
  SELECT target, count(DISTINCT month_start) AS months,
         (year(max(month_start)) - year(min(month_start))) * 12 + month(max(month_start)) - month(min(month_start)) + 1 AS expected
  FROM backlinks_history
  GROUP BY target)
SELECT target, months, expected
FROM spans
WHERE months < expected
ORDER BY expected - months DESC, target;
