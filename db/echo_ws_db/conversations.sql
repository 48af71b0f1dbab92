-- Conversations and who takes part.

-- function: messages.begin_conversation
-- Outcomes: `ok`, `id_conflict`, `full`, `not_found` (the creator, or the other one of a direct
-- conversation, does not exist).
-- A direct conversation is the pair's only one: eight racers get one id, a deleted one revives. To a group or channel only
-- those come who accept the invitation; the others are `refused`. A retry gets the first answer before anybody's account is
-- looked at.
CREATE OR REPLACE FUNCTION messages.begin_conversation(
    new_id UUID, new_type TEXT, new_name TEXT, creator UUID, others UUID[], most INT,
    OUT outcome TEXT, OUT conversation UUID, OUT created BOOLEAN, OUT refused UUID[])
LANGUAGE plpgsql AS $$
DECLARE
    accepting UUID[] = ARRAY(
        SELECT DISTINCT u FROM unnest(others) u
        WHERE u <> creator AND new_type <> 'direct' AND messages.accepts_invitation(u, creator) ORDER BY u);
    listed JSONB = jsonb_build_object(
        'user_ids', to_jsonb(ARRAY(SELECT DISTINCT u FROM unnest(creator || CASE new_type
            WHEN 'direct' THEN others WHEN 'channel' THEN '{}' ELSE accepting END) u ORDER BY u)),
        'muted', '[]'::jsonb,
        'admins', CASE new_type WHEN 'direct' THEN '[]'::jsonb ELSE jsonb_build_array(creator) END);
    pair TEXT = CASE new_type WHEN 'direct' THEN messages.pair(listed) END;
    existing messages.conversations;
BEGIN
    created = FALSE;
    refused = '{}';
    SELECT * INTO existing FROM messages.conversations
    WHERE id = new_id AND created_by = creator AND type = new_type AND direct_key IS NOT DISTINCT FROM pair
      AND deleted_at IS NULL;
    IF FOUND THEN
        outcome = 'ok';
        conversation = new_id;
        refused = messages.never_came(new_id, others);
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM auth.users WHERE id = creator AND deleted_at IS NULL)
       OR (new_type = 'direct' AND NOT EXISTS (SELECT FROM auth.users WHERE id = ALL (others) AND deleted_at IS NULL)) THEN
        outcome = 'not_found';
        RETURN;
    END IF;
    IF new_type = 'group' AND cardinality(accepting) >= most THEN
        outcome = 'full';
        RETURN;
    END IF;
    IF pair IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(pair, 0));
        UPDATE messages.conversations SET deleted_at = NULL WHERE direct_key = pair AND deleted_at IS NOT NULL;
        created = FOUND;
        SELECT id INTO conversation FROM messages.conversations WHERE direct_key = pair;
        IF FOUND THEN
            outcome = 'ok';
            RETURN;
        END IF;
    END IF;
    INSERT INTO messages.conversations (id, type, name, participants, created_by, direct_key)
    VALUES (new_id, new_type, new_name, listed, creator, pair)
    ON CONFLICT (id) DO NOTHING;
    created = FOUND;
    PERFORM messages.admit(new_id, accepting, 'reader') WHERE created AND new_type = 'channel' AND accepting <> '{}';
    SELECT * INTO existing FROM messages.conversations WHERE id = new_id;
    conversation = existing.id;
    outcome = CASE
        WHEN (existing.created_by, existing.type) = (creator, new_type) AND existing.direct_key IS NOT DISTINCT FROM pair
            THEN 'ok'
        ELSE 'id_conflict'
    END;
    refused = messages.never_came(new_id, others);
END
$$;

-- function: messages.never_came
-- Who of these never took part.
CREATE OR REPLACE FUNCTION messages.never_came(conversation UUID, invited UUID[]) RETURNS UUID[] LANGUAGE sql STABLE AS $$
    SELECT ARRAY(SELECT DISTINCT u FROM unnest(invited) u
                 WHERE NOT EXISTS (SELECT FROM messages.members m WHERE m.conversation_id = conversation AND m.user_id = u)
                 ORDER BY u)
$$;

-- name: create(conversation, type, name, creator, others, most) -> CreatedRow
-- Create a conversation, or find the one that is there.
SELECT outcome, conversation, created, refused FROM messages.begin_conversation($1, $2, $3, $4, $5, $6)

-- function: messages.update_conversation
-- NULL leaves a field as it is; an empty text takes it away. As it was already: no rev taken.
CREATE OR REPLACE FUNCTION messages.update_conversation(
    conversation UUID, editor UUID, new_name TEXT, description TEXT, avatar_url TEXT, history TEXT, is_public BOOLEAN,
    OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, editor);
    old messages.conversations;
    new_metadata JSONB;
BEGIN
    SELECT * INTO old FROM messages.conversations c WHERE c.id = conversation;
    outcome = messages.as_admin(me);
    IF outcome <> 'ok' THEN
        RETURN;
    ELSIF is_public IS NOT NULL AND old.type <> 'channel' THEN
        outcome = 'wrong_type';
        RETURN;
    END IF;
    new_metadata = CASE jsonb_typeof(old.metadata) WHEN 'object' THEN old.metadata ELSE '{}' END || jsonb_strip_nulls(
        jsonb_build_object('description', description, 'avatar_url', avatar_url, 'history', history, 'public', is_public));
    new_metadata = new_metadata - ARRAY(
        SELECT key FROM (VALUES ('description', description), ('avatar_url', avatar_url)) t(key, said) WHERE said = '');
    UPDATE messages.conversations c SET name = coalesce(new_name, c.name), metadata = new_metadata
    WHERE c.id = conversation AND (c.name, c.metadata) IS DISTINCT FROM (coalesce(new_name, c.name), new_metadata);
    SELECT to_jsonb(c) - 'participants' INTO changed FROM messages.conversations c WHERE c.id = conversation;
END
$$;

-- name: update(conversation, editor, name, description, avatar_url, history, is_public) -> ChangedRow
-- Change what a group or channel is called and how it is set.
SELECT outcome, changed::text AS changed FROM messages.update_conversation($1, $2, $3, $4, $5, $6, $7)

-- function: messages.delete_conversation
-- A group or channel is deleted for all, by an admin; a direct conversation for oneself, up to its last message: nothing of
-- it is `changed` for the other one. Deleted already: nothing changes.
CREATE OR REPLACE FUNCTION messages.delete_conversation(conversation UUID, deleter UUID, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, deleter);
    top BIGINT = (SELECT h.last_seq FROM messages.heads h WHERE h.conversation_id = conversation);
BEGIN
    outcome = messages.as_admin(me);
    IF outcome = 'ok' THEN
        UPDATE messages.conversations c SET deleted_at = CURRENT_TIMESTAMP WHERE c.id = conversation
        RETURNING to_jsonb(c) - 'participants' INTO changed;
    ELSIF outcome = 'wrong_type' THEN
        outcome = 'ok';
        PERFORM messages.clear(conversation, deleter, top) WHERE me.cleared_seq IS DISTINCT FROM top;
    ELSIF outcome = 'not_found' AND (messages.present(conversation, deleter)).role = 'admin' THEN
        outcome = 'ok';
    END IF;
END
$$;

-- function: messages.clear
-- Let a member read nothing up to a seq any more.
CREATE OR REPLACE FUNCTION messages.clear(conversation UUID, member UUID, up_to BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    taken BIGINT = users.take_rev(member);
BEGIN
    UPDATE messages.members m SET joined_seq = up_to, cleared_seq = up_to, user_rev = taken
    WHERE m.conversation_id = conversation AND m.user_id = member AND m.left_seq IS NULL;
END
$$;

-- name: delete(conversation, deleter) -> DeletedRow
-- Delete a group or channel for all, a direct conversation for oneself.
SELECT outcome, changed::text AS changed FROM messages.delete_conversation($1, $2)

-- function: messages.mute
-- The user's own head first, as with everything that concerns one user alone.
CREATE OR REPLACE FUNCTION messages.mute(conversation UUID, muter UUID, until TIMESTAMP, OUT outcome TEXT) LANGUAGE plpgsql AS $$
DECLARE
    me messages.members;
    taken BIGINT;
BEGIN
    PERFORM FROM users.heads h WHERE h.user_id = muter FOR NO KEY UPDATE;
    SELECT m.* INTO me
    FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = conversation AND m.user_id = muter AND m.left_seq IS NULL;
    outcome = CASE WHEN me IS NULL THEN 'not_found' ELSE 'ok' END;
    IF outcome = 'ok' AND me.muted_until IS DISTINCT FROM until THEN
        taken = users.take_rev(muter);
        UPDATE messages.members m SET muted_until = until, user_rev = taken
        WHERE m.conversation_id = conversation AND m.user_id = muter AND m.left_seq IS NULL;
    END IF;
END
$$;

-- name: mute(conversation, muter, until) -> None
-- Note until when a member wants no notifications; NULL: he or she wants them.
SELECT messages.mute($1, $2, $3) AS outcome

-- name: page(viewer, limit, before_at, before_id) -> SummaryRow
-- The viewer's conversations, the one with the latest message first, below a place in that order. A direct one that the
-- viewer deleted comes back with the next message.
WITH listed AS MATERIALIZED (
    SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
           c.last_message_id, c.last_message_at, c.metadata, h.member_count, m.silenced, m.muted_until,
           CASE c.type WHEN 'direct' THEN coalesce(
               (SELECT p.user_id FROM messages.members p
                WHERE p.conversation_id = c.id AND p.user_id <> $1 AND p.left_seq IS NULL), $1) END AS peer,
           m.joined_seq, m.marked_unread
    FROM messages.members m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    JOIN messages.heads h ON h.conversation_id = c.id
    WHERE m.user_id = $1 AND m.left_seq IS NULL AND (m.cleared_seq IS NULL OR m.cleared_seq < h.last_seq)
      AND ($3::timestamp IS NULL OR (coalesce(c.last_message_at, c.created_at), c.id) < ($3, $4::uuid))
    ORDER BY coalesce(c.last_message_at, c.created_at) DESC, c.id DESC
    LIMIT $2
)
SELECT l.id, l.type, l.role, l.last_seq, l.last_rev, l.delivered_seq, l.read_seq, l.created_at, l.name, l.created_by,
       l.last_message_id, l.last_message_at, l.metadata, l.member_count, l.silenced, l.muted_until, l.peer, u.unread, u.mentions, l.marked_unread
FROM listed l
CROSS JOIN LATERAL messages.unread(l.id, $1, greatest(l.read_seq, l.joined_seq)) u
ORDER BY coalesce(l.last_message_at, l.created_at) DESC, l.id DESC

-- name: summary(conversation, viewer) -> SummaryRow
-- One conversation as a member sees it; no row for anybody else.
SELECT c.id, c.type, m.role, h.last_seq, h.last_rev, m.delivered_seq, m.read_seq, c.created_at, c.name, c.created_by,
       c.last_message_id, c.last_message_at, c.metadata, h.member_count, m.silenced, m.muted_until,
       CASE c.type WHEN 'direct' THEN coalesce(
           (SELECT p.user_id FROM messages.members p
            WHERE p.conversation_id = c.id AND p.user_id <> $2 AND p.left_seq IS NULL), $2) END AS peer,
       u.unread, u.mentions, m.marked_unread
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
CROSS JOIN LATERAL messages.unread(c.id, $2, greatest(m.read_seq, m.joined_seq)) u
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL

-- name: ever_member(conversation, viewer) -> bool
-- Whether the viewer is or was a member.
SELECT EXISTS (
    SELECT FROM messages.members m JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.conversation_id = $1 AND m.user_id = $2)

-- name: may_type(conversation, typist, most) -> TypingRow
-- Whether a member may post, and from whom it is kept that he or she types: no row for anybody else. It is told where both
-- show it, and not between two of whom one has blocked the other; in conversations of more than `most` to nobody.
SELECT m.role <> 'reader' AND NOT m.silenced, h.member_count <= $3 AS is_told,
       CASE WHEN h.member_count <= $3 THEN ARRAY(
           SELECT o.user_id FROM messages.members o
           CROSS JOIN LATERAL users.sight(o.user_id, $2) s
           WHERE o.conversation_id = $1 AND o.left_seq IS NULL AND o.user_id <> $2
             AND (NOT s.typing OR c.type = 'direct' AND s.apart)) END AS kept_from
FROM messages.members m
JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
JOIN messages.heads h ON h.conversation_id = c.id
WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.left_seq IS NULL
