-- Refresh tokens: each good once. A family is what one login on one device has led to; its tokens and its session were all
-- created at that login.

-- name: rotate(digest, successor, session_digest, address, user_agent, session_days, refresh_days) -> RefreshedRow
-- Spend a token: its successor, and a new token for the device's session, which is opened anew if it has run out. A session
-- that nobody has used yet stays so: at its first use the other devices are told.
-- No row: unknown, spent, revoked or too old, or the user may not enter.
WITH spent AS (
    UPDATE auth.refresh_tokens t SET revoked = TRUE, revoked_at = CURRENT_TIMESTAMP
    FROM auth.users u
    WHERE t.token = $1 AND t.revoked IS NOT TRUE AND t.expires_at > CURRENT_TIMESTAMP
      AND u.id = t.user_id AND auth.may_enter(u)
    RETURNING t.user_id, t.device_id, t.created_at
), issued AS (
    INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at, created_at)
    SELECT user_id, $2, device_id, CURRENT_TIMESTAMP + make_interval(days => $7), created_at FROM spent
), present AS (
    SELECT s.id FROM spent p JOIN auth.sessions s USING (user_id, device_id) ORDER BY s.created_at DESC LIMIT 1
), renewed AS (
    UPDATE auth.sessions s
    SET session_token = $3, expires_at = CURRENT_TIMESTAMP + make_interval(days => $6),
        last_activity_at = CASE WHEN s.last_activity_at = s.created_at THEN s.created_at ELSE CURRENT_TIMESTAMP END,
        ip_address = coalesce($4::inet, s.ip_address),
        user_agent = coalesce($5, s.user_agent)
    FROM present p WHERE s.id = p.id
    RETURNING s.user_id, s.id, s.expires_at
), reopened AS (
    INSERT INTO auth.sessions (user_id, session_token, device_id, platform, ip_address, user_agent, expires_at, created_at)
    SELECT user_id, $3, device_id, 'unknown', $4::inet, $5, CURRENT_TIMESTAMP + make_interval(days => $6), created_at
    FROM spent WHERE NOT EXISTS (SELECT FROM renewed)
    RETURNING user_id, id, expires_at
)
SELECT * FROM renewed UNION ALL SELECT * FROM reopened

-- name: repeated(digest, successor, session_digest, grace_s) -> RefreshedRow
-- What a token that was spent a moment ago led to, as long as nothing followed: the answer may have been lost.
SELECT s.user_id, s.id, s.expires_at
FROM auth.refresh_tokens t
JOIN auth.refresh_tokens n ON n.token = $2 AND n.revoked IS NOT TRUE AND n.expires_at > CURRENT_TIMESTAMP
JOIN auth.sessions s ON s.session_token = $3 AND s.user_id = t.user_id
JOIN auth.users u ON u.id = t.user_id AND auth.may_enter(u)
WHERE t.token = $1 AND t.revoked AND t.revoked_at > CURRENT_TIMESTAMP - make_interval(secs => $4)

-- function: auth.end_family
-- End what a token that was spent before belongs to, and note it: somebody has a copy. A later login on the same device is
-- another family; one under way is waited for. Returns the sessions that were ended.
CREATE OR REPLACE FUNCTION auth.end_family(digest TEXT, address INET, agent TEXT) RETURNS SETOF UUID LANGUAGE plpgsql AS $$
DECLARE
    old auth.refresh_tokens;
BEGIN
    SELECT * INTO old FROM auth.refresh_tokens t
    WHERE t.token = digest AND t.revoked AND t.expires_at > CURRENT_TIMESTAMP;
    PERFORM FROM auth.users u WHERE u.id = old.user_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM auth.refresh_tokens n
               WHERE n.user_id = old.user_id AND n.device_id = old.device_id AND n.revoked IS NOT TRUE)
       AND NOT EXISTS (SELECT FROM auth.sessions s
                       WHERE s.user_id = old.user_id AND s.device_id = old.device_id AND s.created_at > old.created_at) THEN
        INSERT INTO auth.login_history (user_id, phone, success, failure_reason, ip_address, user_agent, device_id)
        VALUES (old.user_id, '', FALSE, 'refresh_token_reused', address, agent, old.device_id);
        RETURN QUERY SELECT * FROM auth.end_device(old.user_id, old.device_id);
    END IF;
END
$$;

-- name: revoke_family(digest, address, user_agent) -> UUID
SELECT * FROM auth.end_family($1, $2::inet, $3)
