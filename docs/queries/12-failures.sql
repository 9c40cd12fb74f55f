-- Why do targets have no data?
SELECT outcome, http_status, api_status_code, message, count(*) AS targets, sum(possibly_billed) AS possibly_billed_calls
FROM targets
WHERE outcome IN ('failed', 'no_data', 'pending', 'rejected')
GROUP BY outcome, http_status, api_status_code, message
ORDER BY targets DESC, outcome, message;
