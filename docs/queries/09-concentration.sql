-- Which targets get their links from few domains: how many links per referring domain are there today?
WITH latest AS (
  SELECT target, max_by(backlinks, date) AS backlinks, max_by(referring_domains, date) AS domains
  FROM backlinks_history
  WHERE backlinks IS NOT NULL AND referring_domains IS NOT NULL
  GROUP BY target)
SELECT target, backlinks, domains, round(1.0 * backlinks / domains, 1) AS links_a_domain
FROM latest
WHERE domains > 0
ORDER BY links_a_domain DESC, target
LIMIT 20;
