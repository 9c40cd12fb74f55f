-- For which targets does the API leave out months between the first and the last?
WITH spans AS (
  SELECT target, count(DISTINCT date_trunc('month', date)) AS months,
         (year(max(date)) - year(min(date))) * 12 + month(max(date)) - month(min(date)) + 1 AS expected
  FROM backlinks_history
  WHERE date IS NOT NULL
  GROUP BY target)
SELECT target, months, expected
FROM spans
WHERE months < expected
ORDER BY expected - months DESC, target;
