-- Housekeeping: one runner for each job among all workers, by leases; and what the jobs delete, a batch at a time.

-- name: introduce(jobs) -> None
-- Make these jobs known; one that nobody knew is due at once.
INSERT INTO auth.housekeeping (job) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING

-- name: claim(jobs, runner, lease_s) -> str
-- Take the job that has been due the longest, for so many seconds. No row: none is due, or others are at it.
UPDATE auth.housekeeping SET runner = $2, leased_until = CURRENT_TIMESTAMP + make_interval(secs => $3)
WHERE job = (SELECT job FROM auth.housekeeping
             WHERE job = ANY ($1::text[]) AND due_at <= CURRENT_TIMESTAMP AND leased_until <= CURRENT_TIMESTAMP
             ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING job

-- name: hold(job, runner, lease_s) -> bool
-- Keep a job for so many seconds more. No row: the lease ran out, and somebody else has it.
UPDATE auth.housekeeping SET leased_until = CURRENT_TIMESTAMP + make_interval(secs => $3)
WHERE job = $1 AND runner = $2
RETURNING TRUE

-- name: finish(job, runner, again_s, is_done) -> None
-- Give a job back, to be done again in so many seconds.
UPDATE auth.housekeeping
SET due_at = CURRENT_TIMESTAMP + make_interval(secs => $3), leased_until = '-infinity', runs = runs + $4::bool::int,
    failures = failures + (NOT $4)::int, succeeded_at = CASE WHEN $4 THEN CURRENT_TIMESTAMP ELSE succeeded_at END
WHERE job = $1 AND runner = $2

-- name: overdue(jobs) -> float
-- For how many seconds the job that waits the longest has been due.
SELECT greatest(0, extract(epoch FROM CURRENT_TIMESTAMP - min(due_at)))::float8
FROM auth.housekeeping WHERE job = ANY ($1::text[])

-- name: expire_sessions(most) -> int
-- Delete sessions that have run out.
WITH gone AS (
    DELETE FROM auth.sessions
    WHERE id IN (SELECT id FROM auth.sessions WHERE expires_at < CURRENT_TIMESTAMP ORDER BY expires_at LIMIT $1)
      AND expires_at < CURRENT_TIMESTAMP  -- again, of one that was renewed while we waited for it
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: cleanup_expired_sessions() -> None
-- The reference's own function, for what else another release lets it do; it is not bounded.
SELECT cleanup_expired_sessions()

-- name: expire_refresh_tokens(most) -> int
-- Delete refresh tokens that have run out, spent or not.
WITH gone AS (
    DELETE FROM auth.refresh_tokens
    WHERE id IN (SELECT id FROM auth.refresh_tokens WHERE expires_at < CURRENT_TIMESTAMP ORDER BY expires_at LIMIT $1)
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: expire_codes(most) -> int
-- Delete verifications that no limit counts any more, with the numbers of people who never came.
WITH gone AS (
    DELETE FROM auth.otp_verifications
    WHERE id IN (SELECT id FROM auth.otp_verifications WHERE expires_at < CURRENT_TIMESTAMP - INTERVAL '2 days'
                 ORDER BY expires_at LIMIT $1)
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: expire_flows(most) -> int
-- Delete flows to identity providers that ended long ago, with the names of people who never came.
WITH gone AS (
    DELETE FROM auth.oauth_flows
    WHERE id IN (SELECT id FROM auth.oauth_flows WHERE expires_at < CURRENT_TIMESTAMP - INTERVAL '1 day'
                 ORDER BY expires_at LIMIT $1)
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: expire_login_history(days, most) -> int
-- Delete entries older than so many days.
WITH gone AS (
    DELETE FROM auth.login_history
    WHERE id IN (SELECT id FROM auth.login_history WHERE created_at < CURRENT_TIMESTAMP - make_interval(days => $1)
                 ORDER BY created_at LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM gone
