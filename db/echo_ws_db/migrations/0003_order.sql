-- migrate:up

-- What echo_ws adds to the reference so that nothing is lost, doubled or out of order (DESIGN section 4). Every column
-- added to a table of the reference is nullable or has a default: a service that knows only the reference goes on
-- reading and writing, and the triggers below number what it writes.

CREATE TABLE messages.epoch (
    is_only_row BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (is_only_row),
    epoch UUID NOT NULL DEFAULT gen_random_uuid()
);
COMMENT ON TABLE messages.epoch IS 'The identity of the data: a restore from backup changes it, and clients start over';
INSERT INTO messages.epoch DEFAULT VALUES;

CREATE TABLE messages.heads (
    conversation_id UUID PRIMARY KEY REFERENCES messages.conversations(id) ON DELETE CASCADE,
    last_seq BIGINT NOT NULL DEFAULT 0,
    last_rev BIGINT NOT NULL DEFAULT 0,
    member_count INT NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
COMMENT ON TABLE messages.heads IS 'The one row that every change of a conversation locks first, always FOR NO KEY UPDATE';

CREATE TABLE users.heads (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    last_rev BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE users.heads IS 'Counts the changes that concern one user alone';

CREATE TABLE messages.members (
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    role VARCHAR(20) NOT NULL DEFAULT 'member' CHECK (role IN ('admin', 'member', 'reader')),
    silenced BOOLEAN NOT NULL DEFAULT FALSE,
    joined_seq BIGINT NOT NULL DEFAULT 0,
    joined_rev BIGINT NOT NULL,
    left_seq BIGINT NULL,
    left_rev BIGINT NULL,
    delivered_seq BIGINT NOT NULL DEFAULT 0,
    read_seq BIGINT NOT NULL DEFAULT 0,
    receipts_at TIMESTAMP NULL,
    rev BIGINT NOT NULL,
    user_rev BIGINT NOT NULL,
    PRIMARY KEY (conversation_id, user_id, joined_rev)
) WITH (fillfactor = 80);
COMMENT ON TABLE messages.members IS 'The normalised twin of conversations.participants: one row for each time a user was a member';
COMMENT ON COLUMN messages.members.joined_seq IS 'The member reads messages above this seq';
COMMENT ON COLUMN messages.members.left_seq IS 'NULL while a member; afterwards the last seq that is still readable';
COMMENT ON COLUMN messages.members.rev IS 'The conversation''s rev in which this row last changed (receipts do not count)';
COMMENT ON COLUMN messages.members.user_rev IS 'The user''s own rev in which this row last changed';

CREATE UNIQUE INDEX idx_members_present ON messages.members(conversation_id, user_id) WHERE left_seq IS NULL;
CREATE INDEX idx_members_rev ON messages.members(conversation_id, rev);
CREATE INDEX idx_members_user_id ON messages.members(user_id, user_rev);

CREATE TABLE messages.erased (
    message_id UUID PRIMARY KEY,
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    from_user_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    rev BIGINT NOT NULL,
    created_at TIMESTAMP NOT NULL
);
COMMENT ON TABLE messages.erased IS 'What is left of a message whose row another service deleted';
CREATE INDEX idx_erased_rev ON messages.erased(conversation_id, rev);
CREATE INDEX idx_erased_seq ON messages.erased(conversation_id, seq);

ALTER TABLE messages.messages ADD COLUMN seq BIGINT NULL, ADD COLUMN rev BIGINT NULL;
ALTER TABLE messages.conversations ADD COLUMN rev BIGINT NOT NULL DEFAULT 1, ADD COLUMN direct_key TEXT NULL;
COMMENT ON COLUMN messages.messages.seq IS 'Position in the conversation: 1, 2, 3 …';
COMMENT ON COLUMN messages.messages.rev IS 'The conversation''s rev in which this message last changed';
COMMENT ON COLUMN messages.conversations.direct_key IS 'The sorted pair of a direct conversation: each pair has one';

CREATE UNIQUE INDEX idx_messages_seq ON messages.messages(conversation_id, seq);
CREATE INDEX idx_messages_rev ON messages.messages(conversation_id, rev);
CREATE UNIQUE INDEX idx_conversations_direct_key ON messages.conversations(direct_key);

-- A message as everybody sees it.
CREATE VIEW messages.snapshots AS
SELECT m.id, m.conversation_id, m.seq, m.rev, m.from_user_id, m.type,
       CASE WHEN m.deleted THEN '' ELSE m.content END AS content,
       m.reply_to_id, coalesce(m.edited, FALSE) AS edited, coalesce(m.deleted, FALSE) AS deleted,
       CASE WHEN NOT coalesce(m.deleted, FALSE) AND jsonb_typeof(m.metadata) = 'object' THEN nullif(m.metadata, '{}') END AS metadata,
       CASE WHEN m.deleted THEN NULL ELSE (
           SELECT jsonb_object_agg(e.emoji, e.people)
           FROM (SELECT r.emoji, count(*) AS people FROM messages.reactions r WHERE r.message_id = m.id GROUP BY r.emoji) e
       ) END AS reactions,
       m.created_at
FROM messages.messages m
UNION ALL
SELECT e.message_id, e.conversation_id, e.seq, e.rev, e.from_user_id, 'text', '', NULL, FALSE, TRUE, NULL, NULL, e.created_at
FROM messages.erased e;


-- Numbering -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION messages.uuids(list JSONB) RETURNS SETOF UUID LANGUAGE sql IMMUTABLE AS $$
    SELECT DISTINCT lower(v)::uuid
    FROM jsonb_array_elements_text(CASE jsonb_typeof(list) WHEN 'array' THEN list ELSE '[]'::jsonb END) v
    WHERE v ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'
$$;

-- Who is listed in a `participants` value; strangers to auth.users and anything malformed are left out.
CREATE FUNCTION messages.listed(participants JSONB)
RETURNS TABLE (user_id UUID, role TEXT, silenced BOOLEAN) LANGUAGE sql STABLE AS $$
    SELECT u.id,
           CASE WHEN u.id IN (SELECT messages.uuids(participants -> 'admins')) THEN 'admin' ELSE 'member' END,
           u.id IN (SELECT messages.uuids(participants -> 'muted'))
    FROM auth.users u
    WHERE u.id IN (SELECT messages.uuids(participants -> 'user_ids') UNION SELECT messages.uuids(participants -> 'admins'))
$$;

-- The pair of a direct conversation as text, or NULL where `participants` is no pair.
CREATE FUNCTION messages.pair(participants JSONB) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE count(*) WHEN 1 THEN min(u::text) || ':' || min(u::text) WHEN 2 THEN min(u::text) || ':' || max(u::text) END
    FROM messages.uuids(participants -> 'user_ids') u
$$;

-- Give a conversation that another service made before this migration its head, members and numbers.
CREATE FUNCTION messages.adopt(conversation UUID) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    count_of BIGINT;
BEGIN
    INSERT INTO messages.heads (conversation_id)
    SELECT c.id FROM messages.conversations c WHERE c.id = conversation
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;  -- somebody else did, or there is no such conversation
    END IF;
    WITH numbered AS (
        UPDATE messages.messages m SET seq = o.n, rev = o.n + 1
        FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS n
              FROM messages.messages WHERE conversation_id = conversation) o
        WHERE m.id = o.id
        RETURNING 1
    )
    SELECT count(*) INTO count_of FROM numbered;
    UPDATE messages.heads SET last_seq = count_of, last_rev = count_of + 1 WHERE conversation_id = conversation;
    PERFORM messages.join_first(conversation, c.participants, count_of) FROM messages.conversations c WHERE c.id = conversation;
END
$$;

-- The first members of a conversation, all in its first rev. `up_to` is what they have received and read already.
CREATE FUNCTION messages.join_first(conversation UUID, participants JSONB, up_to BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    WITH listed AS (
        SELECT * FROM messages.listed(participants)
    ), counted AS (
        INSERT INTO users.heads AS h (user_id, last_rev)
        SELECT l.user_id, 1 FROM listed l ORDER BY l.user_id
        ON CONFLICT (user_id) DO UPDATE SET last_rev = h.last_rev + 1
        RETURNING h.user_id, h.last_rev
    ), joined AS (
        INSERT INTO messages.members (conversation_id, user_id, role, silenced, joined_rev, rev, user_rev, delivered_seq, read_seq)
        SELECT conversation, l.user_id, l.role, l.silenced, 1, 1, c.last_rev, up_to, up_to
        FROM listed l JOIN counted c USING (user_id)
        RETURNING 1
    )
    UPDATE messages.heads SET member_count = (SELECT count(*) FROM joined) WHERE conversation_id = conversation;
END
$$;

CREATE FUNCTION messages.take_rev(conversation UUID) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    taken BIGINT;
BEGIN
    UPDATE messages.heads SET last_rev = last_rev + 1 WHERE conversation_id = conversation RETURNING last_rev INTO taken;
    IF NOT FOUND THEN
        PERFORM messages.adopt(conversation);
        UPDATE messages.heads SET last_rev = last_rev + 1 WHERE conversation_id = conversation RETURNING last_rev INTO taken;
    END IF;
    RETURN taken;
END
$$;

CREATE FUNCTION users.take_rev(of_user UUID) RETURNS BIGINT LANGUAGE sql AS $$
    INSERT INTO users.heads AS h (user_id, last_rev) VALUES (of_user, 1)
    ON CONFLICT (user_id) DO UPDATE SET last_rev = h.last_rev + 1
    RETURNING last_rev
$$;


-- What any service writes is numbered ---------------------------------------------------------------------------------

CREATE FUNCTION messages.number_message() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    PERFORM messages.adopt(NEW.conversation_id)
    WHERE NOT EXISTS (SELECT FROM messages.heads WHERE conversation_id = NEW.conversation_id);
    UPDATE messages.heads SET last_seq = last_seq + 1, last_rev = last_rev + 1
    WHERE conversation_id = NEW.conversation_id
    RETURNING last_seq, last_rev INTO NEW.seq, NEW.rev;
    RETURN NEW;
END
$$;
CREATE TRIGGER number_message BEFORE INSERT ON messages.messages
    FOR EACH ROW WHEN (NEW.seq IS NULL) EXECUTE FUNCTION messages.number_message();

CREATE FUNCTION messages.number_change() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'messages' THEN  -- a CASE would look for both columns in either table
        NEW.rev = messages.take_rev(NEW.conversation_id);
    ELSE
        NEW.rev = messages.take_rev(NEW.id);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER number_change BEFORE UPDATE ON messages.messages
    FOR EACH ROW WHEN (
        NEW.rev IS NOT DISTINCT FROM OLD.rev
        AND (NEW.content, NEW.type, NEW.reply_to_id, NEW.edited, NEW.deleted, NEW.metadata)
            IS DISTINCT FROM (OLD.content, OLD.type, OLD.reply_to_id, OLD.edited, OLD.deleted, OLD.metadata)
    ) EXECUTE FUNCTION messages.number_change();

-- `updated_at` speaks of what is said: neither a number, nor a reaction, nor our key of a pair changes it. These fire
-- after update_messages_updated_at and update_conversations_updated_at, by their names.
CREATE FUNCTION messages.keep_updated_at() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = OLD.updated_at;
    RETURN NEW;
END
$$;
CREATE TRIGGER zz_keep_updated_at BEFORE UPDATE OF seq, rev ON messages.messages
    FOR EACH ROW WHEN (
        (NEW.content, NEW.type, NEW.reply_to_id, NEW.edited, NEW.deleted, NEW.metadata)
        IS NOT DISTINCT FROM (OLD.content, OLD.type, OLD.reply_to_id, OLD.edited, OLD.deleted, OLD.metadata)
    ) EXECUTE FUNCTION messages.keep_updated_at();

CREATE TRIGGER zz_keep_updated_at BEFORE UPDATE OF direct_key ON messages.conversations
    FOR EACH ROW EXECUTE FUNCTION messages.keep_updated_at();

CREATE FUNCTION messages.erase() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.seq IS NOT NULL AND EXISTS (SELECT FROM messages.conversations WHERE id = OLD.conversation_id) THEN
        INSERT INTO messages.erased (message_id, conversation_id, from_user_id, seq, rev, created_at)
        VALUES (OLD.id, OLD.conversation_id, OLD.from_user_id, OLD.seq, messages.take_rev(OLD.conversation_id), OLD.created_at);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER erase AFTER DELETE ON messages.messages FOR EACH ROW EXECUTE FUNCTION messages.erase();

CREATE FUNCTION messages.number_reaction() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    reacted_to UUID = coalesce(NEW.message_id, OLD.message_id);
    conversation UUID = (SELECT conversation_id FROM messages.messages WHERE id = reacted_to);
    taken BIGINT;
BEGIN
    IF conversation IS NOT NULL THEN  -- else the message itself is being deleted
        taken = messages.take_rev(conversation);  -- the head first, then the message
        UPDATE messages.messages SET rev = taken WHERE id = reacted_to;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER number_reaction AFTER INSERT OR UPDATE OR DELETE ON messages.reactions
    FOR EACH ROW EXECUTE FUNCTION messages.number_reaction();

-- A pair that has a direct conversation keeps it: a second one that another service makes has no key.
CREATE FUNCTION messages.key_direct() RETURNS TRIGGER LANGUAGE plpgsql AS $$
DECLARE
    pair TEXT = messages.pair(NEW.participants);
BEGIN
    IF pair IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(pair, 0));
        IF NOT EXISTS (SELECT FROM messages.conversations WHERE direct_key = pair) THEN
            NEW.direct_key = pair;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER key_direct BEFORE INSERT ON messages.conversations
    FOR EACH ROW WHEN (NEW.type = 'direct' AND NEW.direct_key IS NULL) EXECUTE FUNCTION messages.key_direct();

CREATE FUNCTION messages.open_conversation() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO messages.heads (conversation_id, last_rev) VALUES (NEW.id, 1);
    PERFORM messages.join_first(NEW.id, NEW.participants, 0);
    RETURN NULL;
END
$$;
CREATE TRIGGER open_conversation AFTER INSERT ON messages.conversations
    FOR EACH ROW EXECUTE FUNCTION messages.open_conversation();

CREATE TRIGGER number_change BEFORE UPDATE ON messages.conversations
    FOR EACH ROW WHEN (
        NEW.rev = OLD.rev AND (NEW.type, NEW.name, NEW.deleted_at) IS DISTINCT FROM (OLD.type, OLD.name, OLD.deleted_at)
    ) EXECUTE FUNCTION messages.number_change();

-- Members follow `participants`, one rev for each change. Readers of a channel are not listed there and stay.
CREATE FUNCTION messages.sync_members() RETURNS TRIGGER LANGUAGE plpgsql AS $$
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
CREATE TRIGGER sync_members AFTER UPDATE OF participants ON messages.conversations
    FOR EACH ROW WHEN (NEW.participants IS DISTINCT FROM OLD.participants) EXECUTE FUNCTION messages.sync_members();

-- A conversation that comes back is news to each of its members.
CREATE FUNCTION messages.reopen() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    UPDATE messages.members m SET user_rev = o.user_rev, rev = NEW.rev
    FROM (SELECT p.user_id, users.take_rev(p.user_id) AS user_rev
          FROM (SELECT user_id FROM messages.members WHERE conversation_id = NEW.id AND left_seq IS NULL
                ORDER BY user_id) p) o
    WHERE m.conversation_id = NEW.id AND m.user_id = o.user_id AND m.left_seq IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER reopen AFTER UPDATE OF deleted_at ON messages.conversations
    FOR EACH ROW WHEN (OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL) EXECUTE FUNCTION messages.reopen();

-- migrate:down
DROP TRIGGER reopen ON messages.conversations;
DROP TRIGGER sync_members ON messages.conversations;
DROP TRIGGER number_change ON messages.conversations;
DROP TRIGGER open_conversation ON messages.conversations;
DROP TRIGGER key_direct ON messages.conversations;
DROP TRIGGER number_reaction ON messages.reactions;
DROP TRIGGER erase ON messages.messages;
DROP TRIGGER zz_keep_updated_at ON messages.conversations;
DROP TRIGGER zz_keep_updated_at ON messages.messages;
DROP TRIGGER number_change ON messages.messages;
DROP TRIGGER number_message ON messages.messages;
DROP FUNCTION messages.reopen, messages.sync_members, messages.open_conversation, messages.key_direct, messages.number_reaction,
    messages.erase, messages.keep_updated_at, messages.number_change, messages.number_message, users.take_rev,
    messages.take_rev, messages.adopt, messages.join_first, messages.pair, messages.listed, messages.uuids;
DROP VIEW messages.snapshots CASCADE;
ALTER TABLE messages.conversations DROP COLUMN rev, DROP COLUMN direct_key;
ALTER TABLE messages.messages DROP COLUMN seq, DROP COLUMN rev;
DROP TABLE messages.epoch, messages.erased, messages.members, users.heads, messages.heads CASCADE;
