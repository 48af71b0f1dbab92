-- Users.

-- name: add(phone, display_name, password_hash) -> UUID
-- Add a verified user; NULL when the phone number is taken.
SELECT auth.add_user($1, $3, $2) AS id

-- name: add_many(phones, display_names, digests, device_id, platform, days) -> AddedRow
-- Add testers in bulk, each with a session; a phone number that is taken is left out.
WITH input AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) i(phone, display_name, digest)
), added AS (
    INSERT INTO auth.users (phone, password_hash, verified) SELECT phone, '!', TRUE FROM input
    ON CONFLICT (phone) DO NOTHING
    RETURNING id, phone
), profiled AS (
    INSERT INTO users.profiles (user_id, display_name) SELECT a.id, i.display_name FROM added a JOIN input i USING (phone)
), private AS (
    INSERT INTO users.privacy_settings (user_id) SELECT id FROM added
), opened AS (
    INSERT INTO auth.sessions (user_id, session_token, device_id, platform, expires_at)
    SELECT a.id, i.digest, $4, $5, CURRENT_TIMESTAMP + make_interval(days => $6) FROM added a JOIN input i USING (phone)
)
SELECT id, phone FROM added

-- name: show(owner) -> AccountRow
-- What an operator may know of a user, also of one that was deleted.
SELECT u.id, p.display_name, CASE WHEN u.phone NOT LIKE '~%' THEN u.phone END, u.email,
       coalesce(u.email_verified, FALSE), coalesce(u.verified, FALSE),
       coalesce(u.locked_until > CURRENT_TIMESTAMP, u.locked, FALSE),
       CASE WHEN u.locked_until > CURRENT_TIMESTAMP THEN u.locked_until END,
       coalesce(u.failed_login_attempts, 0), u.second_factor, u.created_at, u.deleted_at,
       (SELECT count(*) FROM auth.sessions s WHERE s.user_id = u.id AND s.expires_at > CURRENT_TIMESTAMP),
       (SELECT max(h.created_at) FROM auth.login_history h WHERE h.user_id = u.id AND h.success)
FROM auth.users u LEFT JOIN users.profiles p ON p.user_id = u.id
WHERE u.id = $1

-- name: lock(owner, until) -> LockedRow
-- Lock a user, for good where no time is given, and end all sessions and refresh tokens: a row for each session, or one
-- without. No row: no such user.
WITH changed AS (
    UPDATE auth.users SET locked = TRUE, locked_until = $2 WHERE id = $1 AND deleted_at IS NULL RETURNING id
)
SELECT c.id, e.id FROM changed c LEFT JOIN auth.end_sessions(c.id, NULL, NULL) e(id) ON TRUE

-- name: unlock(owner) -> UUID
-- Let a user in again, whether an operator or failures locked it, and forget the failures. No row: no such user.
UPDATE auth.users SET locked = FALSE, locked_until = NULL, failed_login_attempts = 0
WHERE id = $1 AND deleted_at IS NULL
RETURNING id

-- name: phone(owner) -> str
-- A user's phone number.
SELECT phone FROM auth.users WHERE id = $1

-- name: by_phone(phone) -> UUID
-- The user with this phone number.
SELECT id FROM auth.users WHERE phone = $1 AND deleted_at IS NULL
