-- Users.

-- name: add(phone, display_name, password_hash) -> UUID
-- Add a verified user with profile and privacy settings; no row when the phone number is taken.
WITH added AS (
    INSERT INTO auth.users (phone, password_hash, verified) VALUES ($1, $3, TRUE)
    ON CONFLICT (phone) DO NOTHING
    RETURNING id
), profiled AS (
    INSERT INTO users.profiles (user_id, display_name) SELECT id, $2 FROM added
), private AS (
    INSERT INTO users.privacy_settings (user_id) SELECT id FROM added
)
SELECT id FROM added

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

-- name: phone(owner) -> str
-- A user's phone number.
SELECT phone FROM auth.users WHERE id = $1

-- name: by_phone(phone) -> UUID
-- The user with this phone number.
SELECT id FROM auth.users WHERE phone = $1 AND deleted_at IS NULL
