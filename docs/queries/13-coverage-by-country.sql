-- In which countries do the targets' servers stand, and how many referring domains have they?
WITH latest AS (
  SELECT target, max_by(info_country, date) AS country, max_by(referring_domains, date) AS domains
  FROM backlinks_history
  WHERE info_country IS NOT NULL
  GROUP BY target)
SELECT country, count(*) AS targets, sum(domains) AS referring_domains
FROM latest
GROUP BY country
ORDER BY targets DESC, country;
