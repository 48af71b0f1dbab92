-- Accounts: registration, passwords, and who may log in.

-- function: auth.add_user
-- Add a verified user with profile and privacy settings, and return the id; NULL when the phone number is taken.
CREATE OR REPLACE FUNCTION auth.add_user(new_phone TEXT, new_hash TEXT, new_name TEXT) RETURNS UUID LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO auth.users (phone, password_hash, verified) VALUES (new_phone, new_hash, TRUE)
        ON CONFLICT (phone) DO NOTHING
        RETURNING id
    ), profiled AS (
        INSERT INTO users.profiles (user_id, display_name) SELECT id, new_name FROM added
    ), private AS (
        INSERT INTO users.privacy_settings (user_id) SELECT id FROM added
    )
    SELECT id FROM added
$$;

-- name: register(verification, digest, password_hash, display_name) -> UUID
-- Try a code. If it is right the user is made. No row: wrong, spent or too old; NULL: the number was taken meanwhile.
WITH tried AS MATERIALIZED (
    SELECT verified, phone FROM auth.try_code($1, 'registration', NULL, $2)
)
SELECT auth.add_user(phone, $3, $4) AS id FROM tried WHERE verified

-- name: reset_password(verification, digest, password_hash) -> EndedRow
-- Try a code. If it is right the password is set, and all sessions and refresh tokens end: a row for each session, or
-- one without. No row: wrong, spent, too old, or sent to a number that is the user's no longer. The user's row comes before
-- the code's, as at a deletion; for nobody a try counts as well.
WITH found AS MATERIALIZED (
    SELECT u.id, u.phone
    FROM auth.otp_verifications v JOIN auth.users u ON u.id = v.user_id
    WHERE v.id = $1 AND u.deleted_at IS NULL
    FOR NO KEY UPDATE OF u
), tried AS MATERIALIZED (
    SELECT f.id
    FROM (SELECT) one LEFT JOIN found f ON TRUE
    CROSS JOIN LATERAL auth.try_code($1, 'password_reset', f.id, $2) t
    WHERE t.verified AND t.phone = f.phone
), changed AS (
    UPDATE auth.users u
    SET password_hash = $3, failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END
    FROM tried t WHERE u.id = t.id
    RETURNING u.id
)
SELECT c.id, e.id FROM changed c LEFT JOIN auth.end_sessions(c.id, NULL, NULL) e(id) ON TRUE

-- name: change_password(owner, attempt, old_hash, new_hash, kept) -> EndedRow
-- Set a password in the place of the one that was looked at, and end all sessions but one, and the refresh tokens of all
-- other devices: a row for each session, or one without. No row: somebody else was faster.
WITH changed AS (
    UPDATE auth.users u
    SET password_hash = $4, failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END
    WHERE u.id = $1 AND u.password_hash = $3 AND u.deleted_at IS NULL
    RETURNING u.id
), noted AS (
    UPDATE auth.login_history h SET success = TRUE, failure_reason = NULL FROM changed c WHERE h.id = $2
)
SELECT c.id, e.id FROM changed c LEFT JOIN auth.end_sessions(c.id, NULL, $5) e(id) ON TRUE

-- name: attempt(phone, owner, known, device_id, address, user_agent, location, verification) -> AttemptRow
-- Count a try at a password before it is looked at, as if it had failed: five in a row lock for a minute, each more for
-- twice as long, up to fifteen. A known device (the digest of a session or refresh token of it that still holds) is not
-- locked out by others, nor is who names the owner by id, having a session, or a login's verification that still waits for
-- its code: the password was right when that was sent. No hash: nothing may fit. The history says why.
WITH found AS (
    SELECT u.id,
           coalesce(u.locked, FALSE) AND coalesce(u.locked_until > CURRENT_TIMESTAMP, TRUE) AS is_locked,
           $2::uuid IS NOT NULL
           OR EXISTS (SELECT FROM auth.sessions s
                   WHERE s.session_token = $3 AND s.user_id = u.id AND s.device_id = $4
                     AND s.expires_at > CURRENT_TIMESTAMP)
           OR EXISTS (SELECT FROM auth.refresh_tokens t
                      WHERE t.token = $3 AND t.user_id = u.id AND t.device_id = $4 AND t.revoked IS NOT TRUE
                        AND t.expires_at > CURRENT_TIMESTAMP)
           OR EXISTS (SELECT FROM auth.otp_verifications v
                      WHERE v.id = $8 AND v.user_id = u.id AND v.purpose = 'login' AND v.verified IS NOT TRUE
                        AND coalesce(v.attempts, 0) < 5 AND v.expires_at > CURRENT_TIMESTAMP) AS is_known
    FROM auth.users u
    WHERE u.id = coalesce($2, (SELECT id FROM auth.users WHERE phone = $1)) AND u.deleted_at IS NULL
), counted AS (
    UPDATE auth.users u
    SET failed_login_attempts = coalesce(u.failed_login_attempts, 0) + 1, locked = FALSE,
        locked_until = CASE
            WHEN coalesce(u.failed_login_attempts, 0) >= 4 THEN CURRENT_TIMESTAMP
                + least(INTERVAL '1 minute' * 2 ^ least(coalesce(u.failed_login_attempts, 0) - 4, 4), INTERVAL '15 minutes')
            ELSE u.locked_until END
    FROM found f
    WHERE u.id = f.id AND u.verified
      AND NOT (coalesce(u.locked, FALSE) AND coalesce(u.locked_until > CURRENT_TIMESTAMP, TRUE))
      AND (f.is_known OR coalesce(u.locked_until <= CURRENT_TIMESTAMP, TRUE))
    RETURNING u.id, u.password_hash, u.second_factor
), noted AS (
    INSERT INTO auth.login_history (user_id, phone, success, failure_reason, ip_address, user_agent, device_id, location)
    SELECT f.id, $1, FALSE,
           CASE WHEN c.id IS NOT NULL THEN 'wrong_password'
                WHEN f.id IS NULL THEN 'unknown'
                WHEN f.is_locked OR EXISTS (SELECT FROM auth.users u WHERE u.id = f.id AND u.verified) THEN 'locked'
                ELSE 'unverified' END,
           $5::inet, $6, $4, $7
    FROM (SELECT) one LEFT JOIN found f ON TRUE LEFT JOIN counted c ON TRUE
    RETURNING id
)
SELECT n.id, c.id, c.password_hash, coalesce(c.second_factor, FALSE) FROM noted n LEFT JOIN counted c ON TRUE

-- name: note(attempt, reason) -> None
-- Note why a try failed whose password was right.
UPDATE auth.login_history SET failure_reason = $2 WHERE id = $1

-- name: spare(attempt, owner) -> None
-- Note that a code is needed, and take the try back from the failures: its password was right, and what locks the owner out
-- would be the asking for a code.
WITH noted AS (
    UPDATE auth.login_history SET failure_reason = 'code_needed' WHERE id = $1
)
UPDATE auth.users u
SET failed_login_attempts = greatest(coalesce(u.failed_login_attempts, 0) - 1, 0),
    locked_until = CASE WHEN u.locked THEN u.locked_until END
WHERE u.id = $2

-- name: protect(owner, attempt, password_hash, second_factor) -> UUID
-- Ask for a code at each login, or no longer, the password being right. No row: it was changed meanwhile.
WITH changed AS (
    UPDATE auth.users u
    SET second_factor = $4, failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END
    WHERE u.id = $1 AND u.password_hash = $3 AND u.deleted_at IS NULL
    RETURNING u.id
), noted AS (
    UPDATE auth.login_history h SET success = TRUE, failure_reason = NULL FROM changed c WHERE h.id = $2
)
SELECT id FROM changed

-- name: confirm(owner, attempt) -> None
-- Note that a try was right whose owner has a session, and forget the failures.
WITH noted AS (
    UPDATE auth.login_history SET success = TRUE, failure_reason = NULL WHERE id = $2
)
UPDATE auth.users u SET failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END
WHERE u.id = $1

-- name: change_phone(verification, owner, digest, kept) -> MovedRow
-- Try a code. If it is right the user gets the number, and all sessions but one end, with the refresh tokens of all other
-- devices: a row for each session, or one without, and the number before. No row: wrong, spent, too old, or taken, or the kept
-- session has ended. The number comes last: it is a key, and a refresh that these sessions wait for refers to the user.
WITH acting AS MATERIALIZED (
    SELECT auth.act($2, $4) AS may
), tried AS MATERIALIZED (
    SELECT t.verified, t.phone, t.user_id
    FROM acting a CROSS JOIN LATERAL auth.try_code(CASE WHEN a.may THEN $1::uuid END, 'phone_change', $2, $3) t
), found AS MATERIALIZED (
    SELECT u.id, u.phone AS before, t.phone
    FROM tried t JOIN auth.users u ON u.id = t.user_id
    WHERE t.verified AND u.deleted_at IS NULL AND NOT EXISTS (SELECT FROM auth.users o WHERE o.phone = t.phone)
    FOR NO KEY UPDATE OF u
), ended AS MATERIALIZED (
    SELECT f.id, f.phone, f.before, e.session
    FROM found f LEFT JOIN auth.end_sessions(f.id, NULL, $4) e(session) ON TRUE
), changed AS (
    UPDATE auth.users u SET phone = e.phone FROM (SELECT DISTINCT id, phone FROM ended) e WHERE u.id = e.id RETURNING u.id
)
SELECT e.before, e.session FROM ended e JOIN changed USING (id)

-- name: change_email(verification, owner, digest, acting) -> UUID
-- Try a code. If it is right the user gets the e-mail address. No row: wrong, spent, too old, or taken, or the acting session
-- has ended.
WITH acting AS MATERIALIZED (
    SELECT auth.act($2, $4) AS may
), tried AS MATERIALIZED (
    SELECT t.verified, t.email, t.user_id
    FROM acting a CROSS JOIN LATERAL auth.try_code(CASE WHEN a.may THEN $1::uuid END, 'email_verification', $2, $3) t
)
UPDATE auth.users u SET email = t.email, email_verified = TRUE
FROM tried t
WHERE t.verified AND u.id = t.user_id AND u.deleted_at IS NULL
  AND NOT EXISTS (SELECT FROM auth.users o WHERE o.email = t.email AND o.id <> u.id)
RETURNING u.id

-- function: auth.make_room
-- End what the device had before, and the sessions used longest ago where there are too many: a new one is to come. To be
-- called by who has locked the user's row: then a login that was faster is seen. Returns the sessions that were ended.
CREATE OR REPLACE FUNCTION auth.make_room(owner UUID, device TEXT, most INT) RETURNS SETOF UUID LANGUAGE plpgsql AS $$
DECLARE
    one UUID;
BEGIN
    RETURN QUERY SELECT * FROM auth.end_device(owner, device);
    FOR one IN
        SELECT s.id FROM auth.sessions s WHERE s.user_id = owner ORDER BY s.last_activity_at DESC, s.id OFFSET most - 1
    LOOP
        RETURN QUERY SELECT * FROM auth.end_sessions(owner, one, NULL);
    END LOOP;
END
$$;

-- name: log_in(owner, attempt, password_hash, new_hash, session_digest, refresh_digest, device_id, platform, device_name, metadata, address, user_agent, session_days, refresh_days, location, flow, most, code_checked) -> LoggedInRow
-- Open a session with a refresh token, the password being right, or a flow: that is spent, and its identity must still be
-- the user's. The failures are forgotten, the history says so; what the device had before ends, and what is more than so
-- many sessions. No row, and nothing done but that the flow is spent: the password was changed, the user locked or deleted, a
-- code asked for at each login, or the flow spent, while it was looked at.
WITH spent AS (
    UPDATE auth.oauth_flows SET spent_at = CURRENT_TIMESTAMP
    WHERE id = $16 AND user_id IS NULL AND proven_at IS NOT NULL AND spent_at IS NULL AND expires_at > CURRENT_TIMESTAMP
    RETURNING provider, provider_user_id
), vouched AS (
    SELECT p.id FROM auth.oauth_providers p JOIN spent USING (provider, provider_user_id) WHERE p.user_id = $1
    FOR SHARE OF p
), cleared AS (
    UPDATE auth.users u
    SET failed_login_attempts = 0, locked_until = CASE WHEN u.locked THEN u.locked_until END, password_hash = $4
    WHERE u.id = $1 AND u.password_hash = $3 AND auth.may_enter(u) AND ($18 OR u.second_factor IS NOT TRUE)
      AND ($16::uuid IS NULL OR EXISTS (SELECT FROM vouched))
    RETURNING u.id
), noted AS (
    UPDATE auth.login_history h SET success = TRUE, failure_reason = NULL FROM cleared c WHERE h.id = $2
), room AS MATERIALIZED (
    SELECT c.id AS user_id, ARRAY(SELECT auth.make_room(c.id, $7, $17)) AS ended FROM cleared c
), issued AS (
    INSERT INTO auth.refresh_tokens (user_id, token, device_id, expires_at)
    SELECT user_id, $6, $7, CURRENT_TIMESTAMP + make_interval(days => $14) FROM room
), opened AS (
    INSERT INTO auth.sessions (user_id, session_token, device_id, platform, device_name, device_metadata, ip_address,
                               user_agent, location, expires_at)
    SELECT user_id, $5, $7, $8, $9, $10, $11::inet, $12, $15, CURRENT_TIMESTAMP + make_interval(days => $13) FROM room
    RETURNING user_id, id, expires_at
)
SELECT o.user_id, o.id, o.expires_at, r.ended FROM opened o JOIN room r USING (user_id)

-- function: auth.delete_account
-- Put an account out of reach: nobody logs in, no token is good, phone number and e-mail address are free. One row for
-- each session that this ended, or one without; no row: no such user, or the password is no longer the expected one.
-- What takes longer stands in auth.deletions from then on. Deleted already: the owner changes nothing more; an operator, who
-- needs no password, may still have erased what was kept, or empty an account that another service has marked as deleted.
-- The order matters. The identities come first and the user's row then, as at a login: one under way is waited for, and its
-- session found, or it finds nobody. The tokens come before the sessions, as token.refresh takes them. The number comes last: it is a key, and
-- whoever writes a row that refers to the user holds it until commit, so nothing may be waited for behind it.
CREATE OR REPLACE FUNCTION auth.delete_account(owner UUID, expected_hash TEXT, chosen TEXT, attempt UUID)
RETURNS TABLE (user_id UUID, session UUID) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    found auth.users;
    ended UUID[];
BEGIN
    PERFORM FROM auth.oauth_providers p WHERE p.user_id = owner FOR UPDATE;
    SELECT u.* INTO found FROM auth.users u WHERE u.id = owner FOR NO KEY UPDATE;
    IF found.id IS NULL OR (found.deleted_at IS NULL AND found.password_hash <> expected_hash) THEN
        RETURN;
    END IF;
    IF found.deleted_at IS NOT NULL AND expected_hash IS NOT NULL THEN
        RETURN QUERY SELECT owner, NULL::uuid;
        RETURN;
    END IF;
    UPDATE auth.users
    SET deleted_at = coalesce(deleted_at, CURRENT_TIMESTAMP), password_hash = '!', second_factor = FALSE, email_verified = FALSE,
        failed_login_attempts = 0, locked_until = CASE WHEN locked THEN locked_until END
    WHERE id = owner;
    INSERT INTO auth.deletions (user_id, content) VALUES (owner, chosen)
    ON CONFLICT (user_id) DO UPDATE SET content = 'erase' WHERE EXCLUDED.content = 'erase';
    UPDATE auth.login_history SET success = TRUE, failure_reason = NULL WHERE id = attempt;
    DELETE FROM auth.refresh_tokens t WHERE t.user_id = owner;
    WITH gone AS (DELETE FROM auth.sessions s WHERE s.user_id = owner RETURNING s.id)
    SELECT coalesce(array_agg(id), '{}') INTO ended FROM gone;
    DELETE FROM auth.oauth_providers o WHERE o.user_id = owner;
    -- Kept without their owner: how often a number was sent a code is still counted.
    UPDATE auth.otp_verifications v SET user_id = NULL, code_digest = NULL, expires_at = least(expires_at, CURRENT_TIMESTAMP)
    WHERE v.user_id = owner;
    DELETE FROM notifications.push_tokens p WHERE p.user_id = owner;
    DELETE FROM notifications.preferences p WHERE p.user_id = owner;
    DELETE FROM users.contacts c WHERE c.user_id = owner;
    DELETE FROM users.blocked_users b WHERE b.user_id = owner;
    DELETE FROM users.relations r WHERE r.user_id = owner;
    DELETE FROM messages.follows f WHERE f.user_id = owner;
    DELETE FROM auth.oauth_flows f WHERE f.user_id = owner;
    UPDATE users.profiles p
    SET display_name = 'Deleted account', bio = NULL, avatar_url = NULL, status = 'offline', last_seen = p.created_at,
        phone_visible = FALSE
    WHERE p.user_id = owner;
    UPDATE users.privacy_settings p
    SET show_last_seen = 'nobody', show_profile_photo = 'nobody', show_status = 'nobody', show_read_receipts = FALSE,
        show_typing_indicator = FALSE, allow_group_invites = 'nobody'
    WHERE p.user_id = owner;
    UPDATE auth.users
    SET phone = '~' || left(replace(gen_random_uuid()::text, '-', ''), 19), email = NULL
    WHERE id = owner;
    RETURN QUERY SELECT owner, e.id FROM (SELECT) one LEFT JOIN unnest(ended) e(id) ON TRUE;
END
$$;

-- name: reach(owner) -> ReachRow
-- Where a code for the owner goes to: the phone number, or the e-mail address of who has no number.
SELECT CASE WHEN phone LIKE '+%' THEN phone END, CASE WHEN phone NOT LIKE '+%' AND email_verified THEN email END
FROM auth.users WHERE id = $1

-- name: delete_own(owner, attempt, password_hash, content) -> EndedRow
-- Delete the account of who has just proved to be its owner, the password being the one that was looked at.
SELECT user_id, session FROM auth.delete_account($1, $3, $4, $2)

-- name: delete(owner, content) -> EndedRow
-- Delete somebody's account.
SELECT user_id, session FROM auth.delete_account($1, NULL, $2, NULL)
