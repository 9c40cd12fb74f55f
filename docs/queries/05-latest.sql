-- What are the latest numbers of every target? A row is from one date: null means that the API gave no value for it.
WITH dated AS (
  SELECT target, date, rank, backlinks, referring_domains,
         row_number() OVER (PARTITION BY target ORDER BY date DESC) AS nth
  FROM backlinks_history)
SELECT target, date AS as_of, rank, backlinks, referring_domains
FROM dated
WHERE nth = 1
ORDER BY target;
