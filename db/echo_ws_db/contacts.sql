-- Contacts and blocks: how one user stands to another. Triggers number each change.

-- function: users.block
CREATE OR REPLACE FUNCTION users.block(owner UUID, other UUID, is_on BOOLEAN, why TEXT, OUT outcome TEXT) LANGUAGE plpgsql AS $$
BEGIN
    outcome = 'ok';
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

-- name: block(owner, other, is_on, reason) -> None
-- Block somebody, or no longer; as it was already: nothing changes.
SELECT users.block($1, $2, $3, $4) AS outcome
