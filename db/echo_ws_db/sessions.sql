-- Sessions: who a token is, whether it still holds, when it was last used.

-- function: auth.may_enter
-- Whether a user may come in and stay: neither deleted, nor unverified, nor locked by an operator. PostgreSQL puts this in the
-- place of its call.
CREATE OR REPLACE FUNCTION auth.may_enter(one auth.users) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT one.deleted_at IS NULL AND one.verified IS TRUE
           AND NOT (coalesce(one.locked, FALSE) AND coalesce(one.locked_until > CURRENT_TIMESTAMP, TRUE))
$$;

-- name: by_token(digest) -> SessionRow
-- The session of a token (its sha256), unless it has expired or its user may not enter.
SELECT s.id, s.user_id, s.expires_at, s.last_activity_at = s.created_at
FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
WHERE s.session_token = $1 AND s.expires_at > CURRENT_TIMESTAMP AND auth.may_enter(u)

-- name: by_id(session, owner) -> SessionRow
-- The session that an access token names, under the same conditions.
SELECT s.id, s.user_id, s.expires_at, s.last_activity_at = s.created_at
FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
WHERE s.id = $1 AND s.user_id = $2 AND s.expires_at > CURRENT_TIMESTAMP AND auth.may_enter(u)

-- name: still_good(sessions) -> UUID
-- Which of these sessions still hold: every worker asks for all of its own every few seconds.
SELECT s.id
FROM auth.sessions s JOIN auth.users u ON u.id = s.user_id
WHERE s.id = ANY ($1::uuid[]) AND s.expires_at > CURRENT_TIMESTAMP AND auth.may_enter(u)

-- name: begin(session, address, user_agent) -> DeviceRow
-- Note the first use of a session; of several at the same time one gets the row.
UPDATE auth.sessions
SET last_activity_at = CURRENT_TIMESTAMP, ip_address = coalesce($2::inet, ip_address),
    user_agent = coalesce($3::text, user_agent)
WHERE id = $1 AND last_activity_at = created_at
RETURNING platform, device_name

-- name: touch(sessions, addresses, user_agents) -> None
-- Note that these sessions are in use, and from where. One that is locked is passed by: to wait for it could be a deadlock
-- with what ends sessions, and its next use is noted.
UPDATE auth.sessions s
SET last_activity_at = CURRENT_TIMESTAMP, ip_address = coalesce(i.address, s.ip_address),
    user_agent = coalesce(i.user_agent, s.user_agent)
FROM (SELECT i.*
      FROM unnest($1::uuid[], $2::inet[], $3::text[]) i(id, address, user_agent) JOIN auth.sessions f ON f.id = i.id
      FOR NO KEY UPDATE OF f SKIP LOCKED) i
WHERE s.id = i.id

-- name: issue(owner, digest, device_id, platform, device_name, days) -> UUID
-- Open a session; only the token's digest is kept.
INSERT INTO auth.sessions (user_id, session_token, device_id, platform, device_name, expires_at)
VALUES ($1, $2, $3, $4, $5, CURRENT_TIMESTAMP + make_interval(days => $6))
RETURNING id

-- name: of_user(owner) -> SessionListRow
-- A user's sessions, the one used last first.
SELECT id, device_id, device_name, platform, host(ip_address), user_agent, created_at, last_activity_at, expires_at,
    location
FROM auth.sessions WHERE user_id = $1 ORDER BY last_activity_at DESC, id

-- name: open_of(owner) -> SessionListRow
-- A user's sessions that have not expired, the one used last first; a hundred at most.
SELECT id, device_id, device_name, platform, host(ip_address), left(user_agent, 300), created_at, last_activity_at,
    expires_at, CASE WHEN length(location::text) <= 1000 THEN location END
FROM auth.sessions WHERE user_id = $1 AND expires_at > CURRENT_TIMESTAMP ORDER BY last_activity_at DESC, id LIMIT 100

-- function: auth.act
-- Lock a user's row for a change that a session asks for, and tell whether the session still stands: what ended it may have
-- been committed a moment ago, and its worker need not have heard of it. First the lock, then the look.
CREATE OR REPLACE FUNCTION auth.act(owner UUID, acting UUID) RETURNS BOOLEAN LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM auth.users u WHERE u.id = owner AND u.deleted_at IS NULL FOR NO KEY UPDATE;
    RETURN FOUND AND EXISTS (SELECT FROM auth.sessions s WHERE s.id = acting AND s.user_id = owner);
END
$$;

-- function: auth.end_sessions
-- End one session of a user, or where none is named all but the spared one, if there is one; and the refresh tokens of the
-- same devices, also of those whose sessions have run out. Returns the sessions that were there. Each step sees what was
-- committed before it: whoever locks the user's row and then calls this leaves no session to a login that was faster. The
-- tokens come before the sessions, as a refresh takes them.
CREATE OR REPLACE FUNCTION auth.end_sessions(owner UUID, one UUID, spared UUID) RETURNS SETOF UUID LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth.refresh_tokens t SET revoked = TRUE, revoked_at = CURRENT_TIMESTAMP
    WHERE t.user_id = owner AND t.revoked IS NOT TRUE
      AND (one IS NULL OR t.device_id = (SELECT s.device_id FROM auth.sessions s WHERE s.id = one AND s.user_id = owner))
      AND NOT EXISTS (SELECT FROM auth.sessions s
                      WHERE s.id = spared AND s.user_id = owner AND s.device_id = t.device_id);
    RETURN QUERY
        DELETE FROM auth.sessions s
        WHERE s.user_id = owner AND (one IS NULL OR s.id = one) AND s.id IS DISTINCT FROM spared
        RETURNING s.id;
END
$$;

-- function: auth.end_device
-- End all that a user has on a device, likewise.
CREATE OR REPLACE FUNCTION auth.end_device(owner UUID, device TEXT) RETURNS SETOF UUID LANGUAGE plpgsql AS $$
BEGIN
    UPDATE auth.refresh_tokens t SET revoked = TRUE, revoked_at = CURRENT_TIMESTAMP
    WHERE t.user_id = owner AND t.device_id = device AND t.revoked IS NOT TRUE;
    RETURN QUERY DELETE FROM auth.sessions s WHERE s.user_id = owner AND s.device_id = device RETURNING s.id;
END
$$;

-- name: revoke_own(owner, session, spared, acting) -> UUID
-- End one session of a user, or all but the spared one; returns those that were there. None: the acting one has ended.
WITH acting AS MATERIALIZED (SELECT auth.act($1, $4) AS may)
SELECT e.id FROM acting a CROSS JOIN LATERAL auth.end_sessions(CASE WHEN a.may THEN $1::uuid END, $2, $3) e(id)

-- name: revoke(sessions) -> RevokedRow
-- End these sessions; returns those that were there, and whose they were.
SELECT e.id, s.user_id
FROM auth.sessions s CROSS JOIN LATERAL auth.end_sessions(s.user_id, s.id, NULL) e(id)
WHERE s.id = ANY ($1::uuid[])
