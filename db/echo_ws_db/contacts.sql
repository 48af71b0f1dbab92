-- Contacts and blocks: how one user stands to another. Triggers number each change.

-- function: users.block
CREATE OR REPLACE FUNCTION users.block(owner UUID, other UUID, is_on BOOLEAN, why TEXT, OUT outcome TEXT) LANGUAGE plpgsql AS $$
BEGIN
    outcome = 'ok';
    PERFORM users.lock_head(owner);
    IF NOT is_on THEN
        DELETE FROM users.blocked_users WHERE user_id = owner AND blocked_user_id = other;
    ELSIF EXISTS (SELECT FROM auth.users WHERE id = other AND deleted_at IS NULL) THEN
        INSERT INTO users.blocked_users (user_id, blocked_user_id, reason) VALUES (owner, other, why)
        ON CONFLICT (user_id, blocked_user_id) DO NOTHING;
    ELSE
        outcome = 'not_found';
    END IF;
END
$$;

-- function: users.keep_contact
CREATE OR REPLACE FUNCTION users.keep_contact(
    owner UUID, other UUID, new_nickname TEXT, is_favorite BOOLEAN, OUT outcome TEXT) LANGUAGE plpgsql AS $$
BEGIN
    outcome = 'ok';
    PERFORM users.lock_head(owner);
    IF EXISTS (SELECT FROM auth.users WHERE id = other AND deleted_at IS NULL) THEN
        INSERT INTO users.contacts AS c (user_id, contact_user_id, nickname, favorite)
        VALUES (owner, other, new_nickname, is_favorite)
        ON CONFLICT (user_id, contact_user_id) DO UPDATE SET nickname = new_nickname, favorite = is_favorite
        WHERE (c.nickname, c.favorite) IS DISTINCT FROM (new_nickname, is_favorite);
    ELSE
        outcome = 'not_found';
    END IF;
END
$$;

-- function: users.forget_contact
CREATE OR REPLACE FUNCTION users.forget_contact(owner UUID, other UUID) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM users.lock_head(owner);
    DELETE FROM users.contacts WHERE user_id = owner AND contact_user_id = other;
END
$$;

-- function: users.take_lookups
-- Count so many phone numbers against what a user may ask in a day, or return how long to wait. What is used comes back
-- evenly over the day.
CREATE OR REPLACE FUNCTION users.take_lookups(asker UUID, asked INT, per_day INT) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    today TIMESTAMP = clock_timestamp();
    due TIMESTAMP;
BEGIN
    INSERT INTO users.lookups (user_id, full_at) VALUES (asker, today) ON CONFLICT DO NOTHING;
    SELECT greatest(l.full_at, today) + asked * INTERVAL '1 day' / per_day INTO due
    FROM users.lookups l WHERE l.user_id = asker FOR UPDATE;
    IF due > today + INTERVAL '1 day' THEN
        RETURN ceil(1000 * extract(epoch FROM due - today - INTERVAL '1 day'));
    END IF;
    UPDATE users.lookups SET full_at = due WHERE user_id = asker;
    RETURN 0;
END
$$;

-- name: block(owner, other, is_on, reason) -> None
-- Block somebody, or no longer; as it was already: nothing changes.
SELECT users.block($1, $2, $3, $4) AS outcome

-- name: set(owner, other, nickname, favorite) -> None
-- Put a contact; as it was already: nothing changes.
SELECT users.keep_contact($1, $2, $3, $4) AS outcome

-- name: remove(owner, other) -> None
-- Have somebody no longer as a contact; a block stays.
SELECT users.forget_contact($1, $2)

-- name: page(owner, is_blocked, limit, after) -> ContactRow
-- The user's contacts, or those whom the user blocks, by id, above a place in that order.
SELECT o.user_id, u.id IS NULL AS deleted, nullif(p.display_name, '') AS display_name, c.id IS NOT NULL AS is_contact,
       c.nickname, coalesce(c.favorite, FALSE) AS favorite, b.id IS NOT NULL AS is_blocked, b.reason
FROM (SELECT k.contact_user_id AS user_id FROM users.contacts k WHERE k.user_id = $1 AND NOT $2
      UNION ALL
      SELECT k.blocked_user_id FROM users.blocked_users k WHERE k.user_id = $1 AND $2) o
LEFT JOIN auth.users u ON u.id = o.user_id AND u.deleted_at IS NULL
LEFT JOIN users.profiles p ON p.user_id = u.id
LEFT JOIN users.contacts c ON c.user_id = $1 AND c.contact_user_id = o.user_id
LEFT JOIN users.blocked_users b ON b.user_id = $1 AND b.blocked_user_id = o.user_id
WHERE $4::uuid IS NULL OR o.user_id > $4
ORDER BY o.user_id
LIMIT $3

-- name: take_lookups(asker, asked, per_day) -> int
-- Count phone numbers that are asked for: 0, or how many ms to wait.
SELECT users.take_lookups($1, $2, $3)

-- name: lookup(asker, hashes) -> FoundRow
-- Whose phone numbers have these hashes, of those who show theirs. To one who is blocked nothing else is said than before.
SELECT i.hash, u.id
FROM unnest($2::text[]) i(hash)
JOIN auth.users u ON users.phone_hash(u.phone) = decode(i.hash, 'hex') AND u.deleted_at IS NULL AND u.verified
CROSS JOIN LATERAL users.sight($1, u.id) s
WHERE s.phone
