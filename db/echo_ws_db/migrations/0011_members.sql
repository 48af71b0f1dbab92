-- migrate:up

-- Changing who takes part: `participants` follows the members, whoever changed them.

ALTER TABLE messages.members
    ADD COLUMN told BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN removed BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN cleared_seq BIGINT NULL;
COMMENT ON COLUMN messages.members.told IS 'Whether the others hear of it; not of a reader who was never anything else';
COMMENT ON COLUMN messages.members.removed IS 'An admin ended the membership: a public channel is not entered again';
COMMENT ON COLUMN messages.members.cleared_seq IS 'Up to where the member deleted a direct conversation for himself or herself';

-- By role, the admins come first and the readers last.
CREATE INDEX idx_members_role ON messages.members(conversation_id, role, user_id) WHERE left_seq IS NULL;

-- `participants` as the members are: the shape of the reference, in the order of joining, without a channel's readers.
CREATE FUNCTION messages.list_of(conversation UUID) RETURNS JSONB LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'user_ids', coalesce(jsonb_agg(m.user_id ORDER BY m.joined_rev, m.user_id), '[]'),
        'admins', coalesce(jsonb_agg(m.user_id ORDER BY m.joined_rev, m.user_id) FILTER (WHERE m.role = 'admin'), '[]'),
        'muted', coalesce(jsonb_agg(m.user_id ORDER BY m.joined_rev, m.user_id) FILTER (WHERE m.silenced), '[]'))
    FROM messages.members m
    WHERE m.conversation_id = conversation AND m.left_seq IS NULL AND m.role < 'reader'
$$;

-- Write the list after the members. What else another service keeps in `participants` stays. The trigger need not look
-- for what changed: nothing did. Who calls this holds the conversation's row.
CREATE FUNCTION messages.write_list(conversation UUID) RETURNS VOID LANGUAGE plpgsql
SET echo_ws.members_are_ahead = 'yes' AS $$
DECLARE
    list JSONB = messages.list_of(conversation);
BEGIN
    UPDATE messages.conversations c
    SET participants = CASE jsonb_typeof(c.participants) WHEN 'object' THEN c.participants || list ELSE list END
    WHERE c.id = conversation AND (jsonb_typeof(c.participants) <> 'object' OR c.participants || list <> c.participants);
END
$$;

CREATE OR REPLACE FUNCTION messages.open_conversation() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages.heads (conversation_id, last_rev) VALUES (NEW.id, 1);
    PERFORM messages.join_first(NEW.id, NEW.participants, 0);
    PERFORM messages.write_list(NEW.id);
    RETURN NULL;
END
$$;

-- Members follow `participants`, one rev for each change, and then `participants` the members: its shape is that of the
-- reference, whatever was written. Readers of a channel are not listed there and stay.
CREATE OR REPLACE FUNCTION messages.sync_members() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    change RECORD;
    head messages.heads;
BEGIN
    IF jsonb_typeof(NEW.participants -> 'user_ids') IS DISTINCT FROM 'array' THEN
        RAISE LOG 'messages.conversations %: participants has no array user_ids, members stay as they were', NEW.id;
        PERFORM messages.write_list(NEW.id);
        RETURN NULL;
    END IF;
    PERFORM messages.adopt(NEW.id) WHERE NOT EXISTS (SELECT FROM messages.heads WHERE conversation_id = NEW.id);
    SELECT * INTO head FROM messages.heads WHERE conversation_id = NEW.id FOR NO KEY UPDATE;
    FOR change IN
        WITH listed AS MATERIALIZED (SELECT * FROM messages.listed(NEW.participants))
        SELECT l.user_id, l.role, l.silenced, FALSE AS leaves, m.user_id IS NULL AS joins
        FROM listed l
        LEFT JOIN messages.members m ON m.conversation_id = NEW.id AND m.user_id = l.user_id AND m.left_seq IS NULL
        WHERE m.user_id IS NULL OR (l.role, l.silenced) <> (m.role, m.silenced)
        UNION ALL
        SELECT m.user_id, NULL, NULL, TRUE, FALSE
        FROM messages.members m
        WHERE m.conversation_id = NEW.id AND m.left_seq IS NULL AND m.role < 'reader'
          AND m.user_id NOT IN (SELECT l.user_id FROM listed l)
        ORDER BY 1
    LOOP
        head.last_rev = head.last_rev + 1;
        IF change.joins THEN
            INSERT INTO messages.members
                (conversation_id, user_id, role, silenced, joined_seq, joined_rev, rev, user_rev, delivered_seq, read_seq)
            VALUES (NEW.id, change.user_id, change.role, change.silenced,
                    CASE NEW.metadata ->> 'history' WHEN 'joined' THEN head.last_seq ELSE 0 END, head.last_rev, head.last_rev,
                    users.take_rev(change.user_id), head.last_seq, head.last_seq);
            head.member_count = head.member_count + 1;
        ELSE
            UPDATE messages.members
            SET role = coalesce(change.role, role), silenced = coalesce(change.silenced, silenced), told = TRUE,
                rev = head.last_rev, user_rev = users.take_rev(change.user_id), removed = change.leaves,
                left_seq = CASE WHEN change.leaves THEN head.last_seq END,
                left_rev = CASE WHEN change.leaves THEN head.last_rev END
            WHERE conversation_id = NEW.id AND user_id = change.user_id AND left_seq IS NULL;
            head.member_count = head.member_count - change.leaves::int;
        END IF;
    END LOOP;
    UPDATE messages.heads SET last_rev = head.last_rev, member_count = head.member_count WHERE conversation_id = NEW.id;
    PERFORM messages.write_list(NEW.id);
    RETURN NULL;
END
$$;
CREATE OR REPLACE TRIGGER sync_members AFTER UPDATE OF participants ON messages.conversations
    FOR EACH ROW WHEN (NEW.participants IS DISTINCT FROM OLD.participants
                       AND current_setting('echo_ws.members_are_ahead', TRUE) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION messages.sync_members();

-- Description, picture and settings of a conversation stand in its metadata.
CREATE OR REPLACE TRIGGER number_change BEFORE UPDATE ON messages.conversations
    FOR EACH ROW WHEN (
        NEW.rev = OLD.rev AND (NEW.type, NEW.name, NEW.metadata, NEW.deleted_at)
            IS DISTINCT FROM (OLD.type, OLD.name, OLD.metadata, OLD.deleted_at)
    ) EXECUTE FUNCTION messages.number_change();

-- migrate:down

CREATE OR REPLACE TRIGGER number_change BEFORE UPDATE ON messages.conversations
    FOR EACH ROW WHEN (
        NEW.rev = OLD.rev AND (NEW.type, NEW.name, NEW.deleted_at) IS DISTINCT FROM (OLD.type, OLD.name, OLD.deleted_at)
    ) EXECUTE FUNCTION messages.number_change();
CREATE OR REPLACE TRIGGER sync_members AFTER UPDATE OF participants ON messages.conversations
    FOR EACH ROW WHEN (NEW.participants IS DISTINCT FROM OLD.participants) EXECUTE FUNCTION messages.sync_members();
CREATE OR REPLACE FUNCTION messages.sync_members() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    change RECORD;
    head messages.heads;
BEGIN
    IF jsonb_typeof(NEW.participants -> 'user_ids') IS DISTINCT FROM 'array' THEN
        RAISE LOG 'messages.conversations %: participants has no array user_ids, members stay as they were', NEW.id;
        RETURN NULL;
    END IF;
    PERFORM messages.adopt(NEW.id) WHERE NOT EXISTS (SELECT FROM messages.heads WHERE conversation_id = NEW.id);
    SELECT * INTO head FROM messages.heads WHERE conversation_id = NEW.id FOR NO KEY UPDATE;
    FOR change IN
        SELECT user_id, l.role, l.silenced, l.user_id IS NULL AS leaves, m.user_id IS NULL AS joins
        FROM messages.listed(NEW.participants) l
        FULL JOIN (SELECT * FROM messages.members WHERE conversation_id = NEW.id AND left_seq IS NULL) m USING (user_id)
        WHERE m.user_id IS NULL
           OR (l.user_id IS NULL AND m.role <> 'reader')
           OR (l.role, l.silenced) <> (m.role, m.silenced)
        ORDER BY user_id
    LOOP
        head.last_rev = head.last_rev + 1;
        IF change.joins THEN
            INSERT INTO messages.members
                (conversation_id, user_id, role, silenced, joined_rev, rev, user_rev, delivered_seq, read_seq)
            VALUES (NEW.id, change.user_id, change.role, change.silenced, head.last_rev, head.last_rev,
                    users.take_rev(change.user_id), head.last_seq, head.last_seq);
            head.member_count = head.member_count + 1;
        ELSE
            UPDATE messages.members
            SET role = coalesce(change.role, role), silenced = coalesce(change.silenced, silenced), rev = head.last_rev,
                user_rev = users.take_rev(change.user_id),
                left_seq = CASE WHEN change.leaves THEN head.last_seq END,
                left_rev = CASE WHEN change.leaves THEN head.last_rev END
            WHERE conversation_id = NEW.id AND user_id = change.user_id AND left_seq IS NULL;
            head.member_count = head.member_count - change.leaves::int;
        END IF;
    END LOOP;
    UPDATE messages.heads SET last_rev = head.last_rev, member_count = head.member_count WHERE conversation_id = NEW.id;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION messages.open_conversation() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages.heads (conversation_id, last_rev) VALUES (NEW.id, 1);
    PERFORM messages.join_first(NEW.id, NEW.participants, 0);
    RETURN NULL;
END
$$;
DROP FUNCTION messages.write_list, messages.list_of;
DROP INDEX messages.idx_members_role;
ALTER TABLE messages.members DROP COLUMN cleared_seq, DROP COLUMN removed, DROP COLUMN told;
