-- Which targets lost more referring domains than they gained over the last twelve months?
SELECT target, sum(lost_referring_domains) AS lost, sum(new_referring_domains) AS gained
FROM backlinks_history
WHERE month_start > (SELECT max(month_start) FROM backlinks_history) - INTERVAL 12 MONTH
GROUP BY target
HAVING sum(lost_referring_domains) > sum(new_referring_domains)
ORDER BY lost - gained DESC, target
LIMIT 20;
