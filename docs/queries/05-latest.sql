-- Where does every target stand today?
SELECT target, max(date) AS as_of, max_by(rank, date) AS rank, max_by(backlinks, date) AS backlinks,
       max_by(referring_domains, date) AS referring_domains
FROM backlinks_history
GROUP BY target
ORDER BY target;
