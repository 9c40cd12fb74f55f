-- Where does every target stand today? All of a line is of the same date: null is what that answer does not tell.
WITH dated AS (
  SELECT target, date, rank, backlinks, referring_domains,
         row_number() OVER (PARTITION BY target ORDER BY date DESC) AS nth
  FROM backlinks_history)
SELECT target, date AS as_of, rank, backlinks, referring_domains
FROM dated
WHERE nth = 1
ORDER BY target;
