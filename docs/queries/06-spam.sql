-- Which targets have the highest spam score, in the latest month that has one?
SELECT target, max_by(info_target_spam_score, date) AS spam_score
FROM backlinks_history
WHERE info_target_spam_score IS NOT NULL
GROUP BY target
ORDER BY spam_score DESC, target
LIMIT 20;
