-- Which targets have the largest share of nofollow referring domains, among those with at least a hundred?
WITH latest AS (
  SELECT target, max_by(referring_domains, date) AS domains, max_by(referring_domains_nofollow, date) AS nofollow
  FROM backlinks_history
  WHERE referring_domains IS NOT NULL AND referring_domains_nofollow IS NOT NULL
  GROUP BY target)
SELECT target, domains, nofollow, round(100.0 * nofollow / domains, 1) AS nofollow_percent
FROM latest
WHERE domains >= 100
ORDER BY nofollow_percent DESC, target
LIMIT 20;
