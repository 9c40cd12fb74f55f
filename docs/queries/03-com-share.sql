-- Which share of all links comes from .com, by year?
SELECT year, round(100.0 * sum(referring_links_tld['com']) / sum(backlinks), 1) AS com_percent
FROM backlinks_history
GROUP BY year
ORDER BY year;
