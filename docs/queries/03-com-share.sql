-- Which share of all links comes from .com, by year, where the API reports it?
SELECT year, round(100.0 * sum(referring_links_tld['com']) / sum(backlinks), 1) AS com_percent
FROM backlinks_history
WHERE referring_links_tld['com'] IS NOT NULL AND backlinks IS NOT NULL
GROUP BY year
ORDER BY year;
