-- In which countries are the targets' servers, and how many referring domains do they have? Both are the last known values.
WITH latest AS (
  SELECT target,
         max_by(info_country, date) FILTER (WHERE info_country IS NOT NULL) AS country,
         max_by(referring_domains, date) FILTER (WHERE referring_domains IS NOT NULL) AS domains
  FROM backlinks_history
  GROUP BY target)
SELECT country, count(*) AS targets, sum(domains) AS referring_domains
FROM latest
WHERE country IS NOT NULL
GROUP BY country
ORDER BY targets DESC, country;
