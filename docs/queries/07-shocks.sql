-- In which months did a target win more than five times what it won on average over the twelve months before?
WITH flows AS (
  SELECT target, date, new_referring_domains AS won,
         avg(new_referring_domains) OVER (
           PARTITION BY target ORDER BY date ROWS BETWEEN 12 PRECEDING AND 1 PRECEDING) AS usual
  FROM backlinks_history
  WHERE date >= TIMESTAMP '2021-06-01 00:00:00')
SELECT target, date, won, round(usual, 1) AS usual
FROM flows
WHERE usual > 10 AND won > 5 * usual
ORDER BY won / usual DESC, target, date
LIMIT 20;
