-- migrate:up

-- The function of 0003 took a user's rev as often as its subquery was scanned: users.heads ran ahead of the rows.
CREATE OR REPLACE FUNCTION messages.reopen() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    WITH taken AS MATERIALIZED (
        SELECT p.user_id, users.take_rev(p.user_id) AS user_rev
        FROM (SELECT user_id FROM messages.members WHERE conversation_id = NEW.id AND left_seq IS NULL
              ORDER BY user_id) p
    )
    UPDATE messages.members m SET user_rev = t.user_rev, rev = NEW.rev
    FROM taken t
    WHERE m.conversation_id = NEW.id AND m.user_id = t.user_id AND m.left_seq IS NULL;
    RETURN NULL;
END
$$;

-- migrate:down
CREATE OR REPLACE FUNCTION messages.reopen() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messages.members m SET user_rev = o.user_rev, rev = NEW.rev
    FROM (SELECT p.user_id, users.take_rev(p.user_id) AS user_rev
          FROM (SELECT user_id FROM messages.members WHERE conversation_id = NEW.id AND left_seq IS NULL
                ORDER BY user_id) p) o
    WHERE m.conversation_id = NEW.id AND m.user_id = o.user_id AND m.left_seq IS NULL;
    RETURN NULL;
END
$$;
