-- How does the whole portfolio develop, month by month?
SELECT date_trunc('month', date) AS month, count(*) AS targets, sum(backlinks) AS backlinks,
       sum(referring_domains) AS referring_domains
FROM backlinks_history
WHERE date IS NOT NULL
GROUP BY date_trunc('month', date)
ORDER BY month;
