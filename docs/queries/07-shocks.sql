-- In which months did a target gain more than five times its average over the twelve months before?
-- The average covers those of the twelve months that were served, since May 2021; averages up to ten are too low to compare.
WITH flows AS (
  SELECT target, date, new_referring_domains AS gained,
         avg(new_referring_domains) OVER (
           PARTITION BY target
           ORDER BY year(month_start) * 12 + month(month_start)
           RANGE BETWEEN 12 PRECEDING AND 1 PRECEDING) AS average
  FROM backlinks_history
  WHERE month_start >= DATE '2021-05-01')
SELECT target, date, gained, round(average, 1) AS usual
FROM flows
WHERE average > 10 AND gained > 5 * average
ORDER BY gained / average DESC, target, date
LIMIT 20;
